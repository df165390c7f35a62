"""From records to prompts: messages, keys, and the order that shares the most of the cache."""
