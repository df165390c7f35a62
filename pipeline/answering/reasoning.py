"""Tells what a model thought from what it said, by the marks that its format leaves in the text."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from pipeline.answering.harmony import split_harmony
from pipeline.answering.think_tags import split_by_tags
from pipeline.answering.thought_marks import begins_with_opening
from pipeline.core.records import Completion, Split

Splitter: TypeAlias = Callable[[Completion], Completion]


def splitter_of(reasoning: str) -> Splitter:
    """How completions are split under a job's `engine.reasoning`."""
    return leave_whole if reasoning == "off" else split_completion


def split_completion(completion: Completion) -> Completion:
    """A completion with its split: the engine's own, or one by the marks in the text, if any."""
    if completion.split:
        return completion
    split = split_text(completion.text)
    return completion if split.content is completion.text else replace(completion, split=split)


def leave_whole(completion: Completion) -> Completion:
    """A completion that is all answer, whatever its engine takes for a thought."""
    return replace(completion, split=None) if completion.split else completion


def split_text(text: str) -> Split:
    """Splits by the marks of harmony, or of think tags; a text without marks has no thought.

    Thoughts are joined by blank lines. The content is the rest as it stands, but for white space
    and marks at its ends.
    """
    harmony = split_harmony(text)
    if harmony and not begins_with_opening(text):
        return harmony
    return split_by_tags(text) or Split("", text)
