"""Text of others on a terminal: what papers and models say must not steer it."""


def harmless(text: str) -> str:
    """Signs that move a cursor, change colours or turn the direction of writing, by number."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
