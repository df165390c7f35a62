"""Prompts ordered within their paper for shared prefixes, and cut into batches for the engines.

Lengths are in characters and work is in estimated tokens: they decide only order and balance.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pipeline.core.records import Prompt
from pipeline.engines.token_budget import CHARACTERS_PER_TOKEN

MARGIN = 1.5
"""The batches in flight hold at most the remaining work divided by this; the rest goes to the
replicas that finish early."""

MIN_ROWS = 4
"""Rows of a batch, however little work there is in all."""


@dataclass(frozen=True, slots=True)
class PromptGroup:
    """Prompts of a paper, by number, in the order that shares the longest prefixes."""

    prompts: tuple[int, ...]
    fresh: tuple[int, ...]  # characters after the prefix that a prompt shares with the one before

    def work(self, answers: Sequence[int]) -> int:
        """Tokens to compute, if the cache keeps shared prefixes and answers have these lengths."""
        return sum(self.fresh) // CHARACTERS_PER_TOKEN + sum(answers[n] for n in self.prompts)

    def longest(self, answers: Sequence[int]) -> int:
        """Tokens of its longest answer."""
        return max(answers[n] for n in self.prompts)

    def highest(self, ranks: Sequence[float]) -> float:
        """The highest rank of its prompts; 0 if none has any."""
        return max(ranks[n] for n in self.prompts) if ranks else 0.0


def papers_of(prompts: Iterable[Prompt]) -> list[str]:
    """The paper that each prompt stands with: that of the first one of its generation key."""
    papers: dict[str, str] = {}
    return [papers.setdefault(prompt.generation_key, prompt.record.paper) for prompt in prompts]


def grouped(texts: Sequence[str], papers: Sequence[str]) -> list[PromptGroup]:
    """A group for each paper, its prompts sorted by their texts.

    Sorting puts prompts that begin alike next to each other, for a cache of any size.
    """
    by_paper: dict[str, list[int]] = {}
    for number, paper in enumerate(papers):
        by_paper.setdefault(paper, []).append(number)
    groups, last = [], ""
    for paper in sorted(by_paper):
        numbers = sorted(by_paper[paper], key=lambda n: texts[n])
        ordered = [last, *(texts[n] for n in numbers)]
        fresh = tuple(len(text) - common_prefix(before, text) for before, text in pairwise(ordered))
        groups.append(PromptGroup(tuple(numbers), fresh))
        last = ordered[-1]
    return groups


def common_prefix(one: str, other: str) -> int:
    """Characters of the longest common prefix of two texts."""
    limit = min(len(one), len(other))
    return bisect_left(range(1, limit + 1), True, key=lambda n: one[:n] != other[:n])


def split_batches(
    groups: Sequence[PromptGroup],
    max_rows: int,
    in_flight: float,
    answers: Sequence[int],
    min_rows: int = MIN_ROWS,
    ranks: Sequence[float] = (),
) -> Iterator[list[int]]:
    """The prompt numbers of every batch, in order, at most `max_rows` of them.

    `answers` are the tokens expected for each prompt. Groups whose prompts have the highest of the
    `ranks`, if there are any, come first; of these, those with the longest answer, as what begins
    last decides when a run ends, then those with more work. Batches shrink with the
    remaining work, so that replicas finish together (guided self-scheduling: Polychronopoulos and
    Kuck, 1987), but not below `min_rows`, unless some replicas would get nothing. `in_flight`
    batches are processed at a time; if `groups` are only part of a run, this part's share of them;
    0 if one replica takes them all, which then stays full. A group larger than a batch is cut where
    the least is computed twice; between equal prompts only if they alone are more than a batch.
    """
    left = sum(group.work(answers) for group in groups)
    even = sum(len(group.prompts) for group in groups) // max(in_flight, 1)
    least = max(min(min_rows, max_rows, int(even)), MIN_ROWS)
    batch: list[int] = []
    work, shares = 0, in_flight * MARGIN
    order = [(-g.highest(ranks), -g.longest(answers), -g.work(answers)) for g in groups]
    for number in sorted(range(len(groups)), key=order.__getitem__):
        group = groups[number]
        each = group.work(answers) / len(group.prompts)
        rows = int(left / max(shares, 1) / max(each, 1))
        for piece in _pieces(group, min(max(rows, least), max_rows), max_rows):
            if batch and len(batch) + len(piece.prompts) > max_rows:
                yield batch
                batch, work = [], 0
            batch.extend(piece.prompts)
            work += piece.work(answers)
            left -= piece.work(answers)
            if work * shares >= left and len(batch) >= least:
                yield batch
                batch, work = [], 0
    if batch:
        yield batch


def _pieces(group: PromptGroup, rows: int, max_rows: int) -> Iterator[PromptGroup]:
    rest = group
    while len(rest.prompts) > rows:
        at = _cheapest_cut(rest, rows, max_rows)
        yield PromptGroup(rest.prompts[:at], rest.fresh[:at])
        rest = PromptGroup(rest.prompts[at:], rest.fresh[at:])
    if rest.prompts:
        yield rest


def _cheapest_cut(group: PromptGroup, rows: int, max_rows: int) -> int:
    """Where to cut, in the second half of a full batch: before the prompt that shares the least.

    If all of them equal the prompt before, where these end, or else where they begin.
    """
    fresh = (*group.fresh, 1)
    at = max(range(rows // 2 + 1, rows + 1), key=lambda at: (fresh[at], at))
    elsewhere = (
        at,
        *range(rows + 1, min(max_rows, len(group.prompts)) + 1),
        *range(rows // 2, 0, -1),
    )
    return next((at for at in elsewhere if fresh[at]), max_rows)
