"""What checks share that compare an answer with its prompt."""
