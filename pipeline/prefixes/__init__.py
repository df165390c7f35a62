"""Prompts arranged so that what they share stands first, next to each other, and is read once."""
