"""The order of passages with which the records of a group share the longest prefixes.

A record is a set of passages in any order. Giving each record an order makes a prefix tree: the
root is what all records begin with, the leaves are the records. The tree saves the length of each
passage once for every record but the first that passes through it.

The tree is grown greedily from the root, after Liu et al., "Optimizing LLM Queries in Relational
Data Analytics Workloads", MLSys 2025, with two differences. Passages held by the same records form
one bundle. And among the most promising branches, the one chosen is that whose tree, completed
greedily, saves the most.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from pipeline.core.records import Fault, Passage, Prompt
from pipeline.prompting.grouping import papers_of
from pipeline.prompting.template import PromptSource, render

BRANCHES_TRIED = 4
"""Branches tried at a node. Twice as many save a thousandth more, in twice the time."""

SMALL_GROUP = 64
"""Records of the largest group for which that many branches are tried; larger ones try one."""

Members: TypeAlias = int
"""A set of records, as the bits of a number."""

Bundles: TypeAlias = Mapping[Members, int]
"""Characters of the passages that exactly these records hold."""


def arrange(records: Sequence[Sequence[Passage]]) -> list[tuple[int, tuple[Passage, ...]]]:
    """A group's records, by number, in the tree's order; the passages of each in its path's.

    Passages are equal if text and source are. A passage that a record holds twice counts as two.
    The result is deterministic.
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
    tried = BRANCHES_TRIED if len(records) <= SMALL_GROUP else 1
    arranged = []
    for record, path in _leaves((1 << len(records)) - 1, lengths, tried):
        order = sorted(numbered[record], key=lambda p: (_depth(path, holders[p]), at[p]))
        arranged.append((record, tuple(passage for passage, _ in order)))
    return arranged


def _occurrences(passages: Sequence[Passage]) -> list[tuple[Passage, int]]:
    """Passages with the number of times that each came before, which tells repetitions apart."""
    seen: dict[Passage, int] = {}
    numbered = []
    for passage in passages:
        seen[passage] = seen.get(passage, -1) + 1
        numbered.append((passage, seen[passage]))
    return numbered


def _depth(path: Sequence[Members], holders: Members) -> int:
    """The branch of a passage on a path: the first whose records all hold it."""
    return next((i for i, branch in enumerate(path) if holders & branch == branch), len(path))


def _leaves(
    members: Members, bundles: Bundles, tried: int, path: tuple[Members, ...] = ()
) -> Iterator[tuple[int, tuple[Members, ...]]]:
    """Every record with the branches on its path from the root, largest first."""
    while shared := _shared_by(members, bundles):
        branch = _best_branch(members, shared, tried)
        yield from _leaves(branch, _split(branch, shared)[1], tried, (*path, branch))
        members &= ~branch
        bundles = shared
    while members:
        lowest = members & -members
        yield lowest.bit_length() - 1, path
        members ^= lowest


def _best_branch(members: Members, shared: Bundles, tried: int) -> Members:
    """The branch to grow at a node; its records begin with all that they have in common."""
    promising = sorted(shared, key=lambda b: (_saving(b, shared[b]), b), reverse=True)[:tried]
    if len(promising) == 1:
        return promising[0]
    return max(promising, key=lambda branch: _saving_with(members, shared, branch))


def _saving_with(members: Members, shared: Bundles, branch: Members) -> int:
    """What a node's whole tree saves with this branch first, completed greedily."""
    trunk, rest = _split(branch, shared)
    return (
        _saving(branch, trunk)
        + _greedy_saving(branch, rest)
        + _greedy_saving(members & ~branch, shared)
    )


def _greedy_saving(members: Members, bundles: Bundles) -> int:
    """What the greedy tree of some records saves."""
    saved = 0
    while shared := _shared_by(members, bundles):
        branch, most = 0, -1
        for bundle, length in shared.items():
            value = _saving(bundle, length)
            if value > most or (value == most and bundle > branch):
                branch, most = bundle, value
        trunk, rest = _split(branch, shared)
        saved += _saving(branch, trunk)
        if rest and branch.bit_count() > 2:  # two records have nothing left to share
            saved += _greedy_saving(branch, rest)
        members &= ~branch
        bundles = shared
    return saved


def _split(branch: Members, shared: Bundles) -> tuple[int, Bundles]:
    """The length of what all records of a branch hold, and the bundles that only some hold."""
    trunk, rest = 0, {}
    for bundle, length in shared.items():
        if bundle & branch == branch:
            trunk += length
        elif bundle & branch:
            rest[bundle] = length
    return trunk, rest


def _saving(members: Members, length: int) -> int:
    return (members.bit_count() - 1) * length


def _shared_by(members: Members, bundles: Bundles) -> dict[Members, int]:
    """The bundles that at least two of some records share."""
    shared: dict[Members, int] = {}
    if members & (members - 1):
        for bundle, length in bundles.items():
            among = bundle & members
            if among & (among - 1):
                shared[among] = shared.get(among, 0) + length
    return shared


def arranged(prompts: Sequence[Prompt], source: PromptSource) -> list[Prompt]:
    """The prompts by paper, in the order of its tree; their keys stand for every order and stay."""
    by_paper: dict[str, list[Prompt]] = {}
    for prompt, paper in zip(prompts, papers_of(prompts), strict=True):
        by_paper.setdefault(paper, []).append(prompt)
    reordered = []
    for group in by_paper.values():
        group.sort(key=lambda prompt: (prompt.record.record_id, prompt.generation_key))
        for number, passages in arrange([prompt.record.passages for prompt in group]):
            reordered.append(_with_passages(group[number], passages, source))
    return reordered


def _with_passages(prompt: Prompt, passages: tuple[Passage, ...], source: PromptSource) -> Prompt:
    record = replace(prompt.record, passages=passages)
    try:
        messages, _ = render(source, record)
    except Fault:  # a template may fail on some orders only
        return prompt
    return replace(prompt, record=record, messages=messages)
