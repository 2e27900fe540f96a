"""Images from a caller's disk: checked, then handed to Kie.ai's file host, since its API takes URLs only."""
