"""What a model reads, known without loading it: its files, its tokens, the room in its context."""
