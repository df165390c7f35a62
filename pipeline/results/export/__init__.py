"""The store as one file for other tools: a row a record, or a row a paper."""
