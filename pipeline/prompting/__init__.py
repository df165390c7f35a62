"""Records to prompts: the messages that a model is asked with, and the keys they are known by."""
