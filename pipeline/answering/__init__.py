"""Prompts to answers: generate, extract, check; and what an answer's words say of its stance."""
