"""Tells what a model thought from what it said, by the marks that its format leaves in the text."""

from dataclasses import replace

from pipeline.core.records import Completion, Split


def split_completion(completion: Completion) -> Completion:
    """A completion with its split: the engine's own, or one by the rules of this file."""
    return completion if completion.split else replace(completion, split=split_text(completion.text))


def split_text(text: str) -> Split:
    """Splits by think tags; a text without them has no thought."""
    opening, found, rest = text.lstrip().partition("<think>")
    thought = rest if found and not opening else text
    reasoning, is_closed, content = thought.partition("</think>")
    if is_closed:
        return Split(reasoning.strip(), content.strip())
    return Split(thought.strip(), "", is_closed=False) if found and not opening else Split("", text)
