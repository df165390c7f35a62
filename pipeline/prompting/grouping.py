"""A paper's prompts next to each other, and cut into tables for the engines.

Lengths are characters, work is tokens at the common rate: this decides order and balance, where an
estimate does.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

CHARACTERS_PER_TOKEN = 4
"""Of English prose under common tokenizers; an estimate, and called one wherever it is shown."""

MARGIN = 1.5
"""Of what is left, the tables in flight hold so many times less at most: the others are for those
replicas that finish early."""

FEWEST_ROWS = 4
"""Of a table, however little is left."""


@dataclass(frozen=True, slots=True)
class PromptGroup:
    """Prompts that share a prefix, by their numbers, in the order in which they share the most.

    `fresh` are the characters of each that do not repeat the beginning of the one before it.
    """

    prompts: tuple[int, ...]
    fresh: tuple[int, ...]

    def work(self, answer_tokens: int) -> int:
        """Tokens to be read and written, if the prefix cache holds and answers are as expected."""
        return sum(self.fresh) // CHARACTERS_PER_TOKEN + answer_tokens * len(self.prompts)


def grouped(texts: Sequence[str], papers: Sequence[str]) -> list[PromptGroup]:
    """Prompts by paper. In the order of their texts all that begin alike stand together, whatever
    the size of the cache.
    """
    held: dict[str, list[int]] = {}
    for number, paper in enumerate(papers):
        held.setdefault(paper, []).append(number)
    groups, last = [], ""
    for paper in sorted(held):
        numbers = sorted(held[paper], key=lambda n: texts[n])
        ordered = [last, *(texts[n] for n in numbers)]
        fresh = tuple(len(text) - common_prefix(before, text) for before, text in pairwise(ordered))
        groups.append(PromptGroup(tuple(numbers), fresh))
        last = ordered[-1]
    return groups


def common_prefix(one: str, other: str) -> int:
    """Characters that two texts begin with alike."""
    limit = min(len(one), len(other))
    return bisect_left(range(1, limit + 1), True, key=lambda n: one[:n] != other[:n])


def split_batches(
    groups: Sequence[PromptGroup], most_rows: int, in_flight: float, answer_tokens: int
) -> Iterator[list[int]]:
    """The prompts of every table, in order, at most so many of them.

    Groups with more work come first, and tables become smaller the less is left, so that replicas
    finish together (guided self-scheduling: Polychronopoulos and Kuck, 1987). `in_flight` tables
    are at work at a time; where these are not all the groups of a run, the part that falls to
    them. A group that is larger than a table is cut where the least is read twice.
    """
    left = sum(group.work(answer_tokens) for group in groups)
    table: list[int] = []
    work = 0
    for group in sorted(groups, key=lambda group: -group.work(answer_tokens)):
        for piece in _pieces(group, most_rows, left / (in_flight * MARGIN), answer_tokens):
            if table and len(table) + len(piece.prompts) > most_rows:
                yield table
                table, work = [], 0
            table.extend(piece.prompts)
            work += piece.work(answer_tokens)
            left -= piece.work(answer_tokens)
            if work * in_flight * MARGIN >= left:
                yield table
                table, work = [], 0
    if table:
        yield table


def _pieces(
    group: PromptGroup, most_rows: int, most_work: float, answer_tokens: int
) -> Iterator[PromptGroup]:
    rest, each = group, group.work(answer_tokens) / len(group.prompts)
    most = min(max(int(most_work / max(each, 1)), FEWEST_ROWS), most_rows)
    while len(rest.prompts) > most:
        at = _least_lost(rest, most)
        yield PromptGroup(rest.prompts[:at], rest.fresh[:at])
        rest = PromptGroup(rest.prompts[at:], rest.fresh[at:])
    yield rest


def _least_lost(group: PromptGroup, most_rows: int) -> int:
    """Where to cut, in the second half of what a table holds: before what shares the least."""
    return max(range(most_rows // 2 + 1, most_rows + 1), key=lambda at: (group.fresh[at], at))
