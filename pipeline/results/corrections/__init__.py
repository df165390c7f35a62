"""Which corrections count, and how a file of them gets into the store."""
