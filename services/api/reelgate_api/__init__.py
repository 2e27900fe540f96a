"""The public HTTP surface: takes jobs, charges credits, answers for their state."""
