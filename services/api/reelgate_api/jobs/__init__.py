"""Reading jobs: their list, their receipts, and how long they take."""
