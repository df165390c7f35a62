"""The order of passages in which the records of a group share the most prefix.

Every record is a set of passages in any order. An order for each of them makes a tree: what all
begin with is its root, the records are its leaves, and it saves the length of every passage times
the records that find it read already.

The tree is grown greedily from the root, after Liu et al., "Optimizing LLM Queries in Relational
Data Analytics Workloads", MLSys 2025, with two differences. Passages that the same records hold are
one bundle. And of the most promising branches that one is taken whose tree, grown to its end
without looking further, saves most.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias

from pipeline.core.records import Fault, Passage, Prompt
from pipeline.prompting.template import PromptSource, render

BRANCHES_TRIED = 4
"""At every node; twice as many find trees that save a thousandth more, in twice the time."""

SMALL = 64
"""Records of the largest group in which that many branches are tried; in a larger one, one is."""

Members: TypeAlias = int
"""A set of records, as the bits of a number."""

Bundles: TypeAlias = Mapping[Members, int]
"""Characters of the passages that exactly these records hold."""


class Arranged(NamedTuple):
    """A record by its number in the group, with its passages in their new order."""

    record: int
    passages: tuple[Passage, ...]


def arrange(records: Sequence[Sequence[Passage]]) -> list[Arranged]:
    """The records of a group in the tree's order, each with its passages in that of its path.

    Passages are the same where text and source are. One that a record holds twice is two. The same
    records give the same tree.
    """
    numbered = list(map(_occurrences, records))
    holders: dict[tuple[Passage, int], Members] = {}
    for record, pieces in enumerate(numbered):
        for piece in pieces:
            holders[piece] = holders.get(piece, 0) | 1 << record
    at = {piece: place for place, piece in enumerate(holders)}
    lengths: dict[Members, int] = {}
    for (passage, _), members in holders.items():
        lengths[members] = lengths.get(members, 0) + len(passage.text)
    tried = BRANCHES_TRIED if len(records) <= SMALL else 1
    arranged = []
    for record, path in _leaves((1 << len(records)) - 1, lengths, tried):
        order = sorted(numbered[record], key=lambda p: (_depth(path, holders[p]), at[p]))
        arranged.append(Arranged(record, tuple(passage for passage, _ in order)))
    return arranged


def _occurrences(passages: Sequence[Passage]) -> list[tuple[Passage, int]]:
    """Passages told apart from their own repetitions, which count from 0."""
    seen: dict[Passage, int] = {}
    numbered = []
    for passage in passages:
        seen[passage] = seen.get(passage, -1) + 1
        numbered.append((passage, seen[passage]))
    return numbered


def _depth(path: Sequence[Members], holders: Members) -> int:
    """The branch on which a passage stands: the first all of whose records hold it."""
    return next((i for i, branch in enumerate(path) if holders & branch == branch), len(path))


def _leaves(
    members: Members, bundles: Bundles, tried: int, path: tuple[Members, ...] = ()
) -> Iterator[tuple[int, tuple[Members, ...]]]:
    """Every record with the branches on its way from the root, largest first."""
    while shared := _among(members, bundles):
        branch = _best(members, shared, tried)
        yield from _leaves(branch, _parted(branch, shared)[1], tried, (*path, branch))
        members &= ~branch
        bundles = shared
    while members:
        lowest = members & -members
        yield lowest.bit_length() - 1, path
        members ^= lowest


def _best(members: Members, shared: Bundles, tried: int) -> Members:
    """The branch to grow from a node: its records begin with all that they hold in common."""
    promising = sorted(shared, key=lambda b: (_saves(b, shared[b]), b), reverse=True)[:tried]
    if len(promising) == 1:
        return promising[0]
    return max(promising, key=lambda branch: _saved_by(members, shared, branch))


def _saved_by(members: Members, shared: Bundles, branch: Members) -> int:
    """What a node's tree saves in all if it is grown from this branch, and greedily from there."""
    trunk, off = _parted(branch, shared)
    return _saves(branch, trunk) + _saved(branch, off) + _saved(members & ~branch, shared)


def _saved(members: Members, bundles: Bundles) -> int:
    """What the greedy tree of some records saves."""
    saved = 0
    while shared := _among(members, bundles):
        branch, most = 0, -1
        for bundle, length in shared.items():
            value = _saves(bundle, length)
            if value > most or (value == most and bundle > branch):
                branch, most = bundle, value
        trunk, off = _parted(branch, shared)
        saved += _saves(branch, trunk)
        if off and branch.bit_count() > 2:  # two records have nothing left to share
            saved += _saved(branch, off)
        members &= ~branch
        bundles = shared
    return saved


def _parted(branch: Members, shared: Bundles) -> tuple[int, Bundles]:
    """The length of what all records of a branch hold, and the bundles that only some do."""
    trunk, off = 0, {}
    for bundle, length in shared.items():
        if bundle & branch == branch:
            trunk += length
        elif bundle & branch:
            off[bundle] = length
    return trunk, off


def _saves(members: Members, length: int) -> int:
    return (members.bit_count() - 1) * length


def _among(members: Members, bundles: Bundles) -> dict[Members, int]:
    """The bundles that at least two of some records share."""
    shared: dict[Members, int] = {}
    if members & (members - 1):
        for bundle, length in bundles.items():
            held = bundle & members
            if held & (held - 1):
                shared[held] = shared.get(held, 0) + length
    return shared


def arranged(prompts: Sequence[Prompt], source: PromptSource) -> list[Prompt]:
    """The prompts, in another order; their keys, which stand for every order, stay."""
    by_paper: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        by_paper.setdefault(prompt.record.paper, []).append(prompt)
    made = []
    for group in by_paper.values():
        group.sort(key=lambda prompt: (prompt.record.record_id, prompt.generation_key))
        for number, passages in arrange([prompt.record.passages for prompt in group]):
            made.append(_with_passages(group[number], passages, source))
    return made


def _with_passages(prompt: Prompt, passages: tuple[Passage, ...], source: PromptSource) -> Prompt:
    record = replace(prompt.record, passages=passages)
    try:
        messages, _ = render(source, record)
    except Fault:  # a template that bears only the order in which it was tried
        return prompt
    return replace(prompt, record=record, messages=messages)
