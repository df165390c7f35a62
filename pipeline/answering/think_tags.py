"""Splits a completion by think tags, and by the tokens and phrases that stand for them.

A closing tag alone ends a thought that the chat template has opened. A tag that is quoted, stands
in code or is a word of a sentence is text like any other, in a thought as in an answer.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pipeline.answering.mark_context import (
    LINE_CHARACTERS,
    code_blocks,
    ends_sentence,
    is_code,
    is_inline,
    is_named,
    is_quoted,
    is_within,
)
from pipeline.answering.thought_marks import Mark, find_marks, head_of, is_cut_opening
from pipeline.core.records import Split
from pipeline.formats.end_tokens import without_end_tokens

_FRAME = re.compile(r"(?si)\s*<(answer|response|output)>((?:(?!</\1>).)*)(?:</\1>)?\s*")
"""What Hunyuan, ERNIE and others put around an answer that follows a thought."""
_ANSWER = re.compile(r"(?i)\n\s*(?=<(answer|response|output)>)")
"""The same begins an answer if the closing tag is missing, and the frame is closed."""


class Thought(NamedTuple):
    """Where a thought stands in a text, and the words in it."""

    start: int
    end: int | None  # None if it is not closed
    reasoning: str


def split_by_tags(text: str) -> Split | None:
    """None for a text without a thought."""
    marks = _own_marks(text)
    head = head_of(text)
    if not marks:
        return _without_marks(text, head)
    thoughts = list(_thoughts(text, marks, head))
    if not thoughts:
        return None
    reasoning = "\n\n".join(t.reasoning.strip() for t in thoughts if t.reasoning.strip())
    if thoughts[-1].end is None:
        return Split(reasoning, "", is_closed=False)
    ends = [head, *(thought.end for thought in thoughts)]
    starts = [*(thought.start for thought in thoughts), len(text)]
    said = (text[end:start] for end, start in zip(ends, starts, strict=True))
    return Split(reasoning, _unframed("".join(said)).strip())


def _without_marks(text: str, head: int) -> Split | None:
    if is_cut_opening(text[head:]):
        return Split("", "", is_closed=False)
    label = "thought\n"  # Gemma 4 writes it even if it does not think
    return Split("", text.removeprefix(label)) if text.startswith(label) else None


def _own_marks(text: str) -> list[Mark]:
    """The marks that are neither quoted nor code, with what the text around them tells."""
    marks = find_marks(text)
    blocks = code_blocks(text) if marks else []
    return [
        mark._replace(
            is_inline=is_inline(text, mark.start), is_named=is_named(text, mark.start, mark.end)
        )
        for mark in marks
        if not is_within(blocks, mark.start)
        and not is_code(text, mark.start, mark.end)
        and not is_quoted(text, mark.start, mark.end)
    ]


def _thoughts(text: str, marks: Sequence[Mark], floor: int) -> Iterator[Thought]:
    """The thoughts in a text, in order; only the last may be open. `floor` moves behind each."""
    last = {mark.name: mark.start for mark in marks if not mark.opens and not mark.is_named}
    is_first, spoken_of = True, None
    for at, mark in enumerate(marks):
        if mark.start < floor:
            continue
        if mark.opens:
            can_close = mark.start < last.get(mark.name, -1)
            if not _may_open(text, mark, floor, is_first, can_close):
                spoken_of = mark
                continue
            thought = _thought(text, marks, at)
        elif spoken_of and _is_pair(text, spoken_of, mark):
            spoken_of = None
            continue
        elif _closes_alone(text, mark, floor, is_first):
            thought = Thought(floor, mark.end, text[floor : mark.start])
        else:
            continue
        yield thought
        if thought.end is None:
            return
        floor, is_first = thought.end, False


def _thought(text: str, marks: Sequence[Mark], at: int) -> Thought:
    """The thought that `marks[at]` opens, perhaps more than once."""
    start, closing = marks[at].start, _closing(text, marks, at)
    inner = marks[at].end
    for mark in _behind(marks, at):
        if not mark.opens or mark.name != marks[at].name or text[inner : mark.start].strip():
            break
        inner = mark.end
    if closing is None:
        return _open_thought(text, start, inner)
    return Thought(start, closing.end, text[inner : closing.start])


def _may_open(text: str, mark: Mark, floor: int, is_first: bool, can_close: bool) -> bool:
    """Whether an opening mark opens a thought, and is not just spoken of."""
    before = text[max(floor, mark.start - LINE_CHARACTERS) : mark.start].strip()
    if not before:
        return can_close or not mark.is_named
    if mark.is_named or not mark.opens_anywhere:
        return False
    if mark.is_inline:
        return can_close and ends_sentence(before)
    if before.endswith(":") and not before.endswith("::"):  # of a frame
        return False
    stands_alone = not text[mark.end : mark.end + LINE_CHARACTERS].split("\n", 1)[0].strip()
    return can_close or stands_alone or not is_first


def _closing(text: str, marks: Sequence[Mark], at: int) -> Mark | None:
    """The mark that closes the thought opened by `marks[at]`.

    Pairs of tags within the thought are passed over. Where they do not match, the last closing mark
    counts, so that no piece of a thought becomes an answer.
    """
    name, opened, depth = marks[at].name, marks[at], 1
    spoken_of: Mark | None = None
    last: Mark | None = None
    named: Mark | None = None
    for mark in _behind(marks, at):
        if mark.name != name:
            continue
        if mark.opens:
            is_repeated = not text[opened.end : mark.start].strip()
            spoken_of = mark if mark.is_inline and not is_repeated else None
            depth += not mark.is_inline and not is_repeated
            opened = mark
        elif mark.is_named:
            spoken_of, named = None, named or (None if spoken_of else mark)
        else:
            last = mark
            depth -= not (spoken_of and _is_pair(text, spoken_of, mark))
            spoken_of = None
            if depth == 0:
                return mark
    return last or named


def _behind(marks: Sequence[Mark], at: int) -> Iterator[Mark]:
    return (marks[i] for i in range(at + 1, len(marks)))


def _is_pair(text: str, opening: Mark, closing: Mark) -> bool:
    """Whether a closing mark belongs to an opening one that opens no thought."""
    if opening.name != closing.name:
        return False
    return not opening.is_inline or text.find("\n", opening.end, closing.start) < 0


def _closes_alone(text: str, mark: Mark, floor: int, is_first: bool) -> bool:
    """Whether a closing mark ends a thought without an opening one, or repeats the one before."""
    if not is_first:
        return mark.start - floor < LINE_CHARACTERS and not text[floor : mark.start].strip()
    return mark.closes_alone and not mark.is_named


def _open_thought(text: str, start: int, inner: int) -> Thought:
    """A thought without a closing mark, which a framed answer may still follow."""
    answer = _ANSWER.search(text, inner)
    if answer and without_end_tokens(text).endswith(f"</{answer[1]}>"):
        return Thought(start, answer.end(), text[inner : answer.start()])
    return Thought(start, None, text[inner:])


def _unframed(content: str) -> str:
    """An answer without the frame of its format, if the frame holds all of it."""
    match = _FRAME.fullmatch(without_end_tokens(content))
    return match[2] if match else content
