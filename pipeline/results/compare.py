"""What a new prompt, model or run has changed, answer by answer."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.errors import ConfigError, nearest
from pipeline.core.filesystem import Location
from pipeline.core.text import content_words, words_of
from pipeline.store.parts import read_batches, with_parts
from pipeline.store.reader import LATEST
from pipeline.store.reader_rule import micros, newest, row_digests
from pipeline.store.schema import ANSWERS_FOLDER

COMPARED = (
    "record_id",
    "question",
    "status",
    "stance",
    "answer",
    "checks",
    "word_count",
    "prompt_tokens",
    "completion_tokens",
    "written_at",
)
_SIDES = ("run_id", "prompt_name", "prompt_version", "model", "model_revision")

Extent: TypeAlias = Literal["same", "wording", "substance"]
"""How far two answers differ: to the letter the same; other words; something else said."""

ALIKE = 0.7
"""Answers with less of their content words in common say something else."""

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*%?")
_NEGATIONS = frozenset({"no", "not", "never", "none", "neither", "nor", "without", "cannot"})


class Side(NamedTuple):
    """One side of a comparison: the rows whose columns have these values."""

    columns: tuple[tuple[str, str | None], ...]

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self.columns)

    def mask(self) -> pc.Expression:
        fields = [
            pc.field(name).is_null() if value is None else pc.field(name) == value
            for name, value in self.columns
        ]
        first, *others = fields
        for other in others:
            first &= other
        return first


def find_sides(store: Location, *asked: str) -> list[Side]:
    """The sides that words mean: a run's id, `<prompt>@<version>`, a version, a model, or
    `<model>@<revision>`.

    Raises `ConfigError` where the store has none such, or several.
    """
    folder = store.join(ANSWERS_FOLDER)
    sides = with_parts(folder, lambda parts: _known_sides(folder, parts))
    return [_the_side(word, sides, store.uri) for word in asked]


def _the_side(asked: str, sides: Mapping[str, set[Side]], store: str) -> Side:
    found = sides.get(asked, set())
    if len(found) == 1:
        return next(iter(found))
    if found:
        listed = ", ".join(sorted(map(str, found)))
        raise ConfigError(f"{asked!r} means several things in {store}: {listed}")
    raise ConfigError(
        f"{asked!r}: no run, prompt version or model of that name in {store}"
        f"{nearest(asked, sides)}; it has {', '.join(sorted(sides)[:12])}"
    )


def _known_sides(folder: Location, parts: Sequence[str]) -> dict[str, set[Side]]:
    met: set[tuple[str | None, ...]] = set()
    for path in parts:
        for rows in read_batches(folder.fs, path, _SIDES):
            met.update(zip(*(rows[name].to_pylist() for name in _SIDES), strict=True))
    sides: dict[str, set[Side]] = {}
    for run, prompt, version, model, revision in met:
        for name, columns in (
            (run, (("run_id", run),)),
            (f"{prompt}@{version}", (("prompt_name", prompt), ("prompt_version", version))),
            (version, (("prompt_name", prompt), ("prompt_version", version))),
            (model, (("model", model),)),
            (f"{model}@{revision}", (("model", model), ("model_revision", revision))),
        ):
            sides.setdefault(str(name), set()).add(Side(columns))
    return sides


@dataclass(frozen=True)
class Pair:
    """One record's newest answers on both sides, as stored rows."""

    before: Mapping[str, Any]
    after: Mapping[str, Any]

    @property
    def record_id(self) -> str:
        return str(self.before["record_id"])

    @cached_property
    def likeness(self) -> float:
        """Share of content words in common, by Dice's coefficient over their stems: 0 to 1."""
        return likeness(self.before["answer"] or "", self.after["answer"] or "")

    @cached_property
    def extent(self) -> Extent:
        return extent(self.before["answer"] or "", self.after["answer"] or "")

    @property
    def missed(self) -> tuple[frozenset[str], frozenset[str]]:
        before, after = (
            frozenset(c["name"] for c in row["checks"] if not c["passed"])
            for row in (self.before, self.after)
        )
        return before, after

    def changed(self, column: str) -> bool:
        return bool(self.before[column] != self.after[column])

    @property
    def weight(self) -> tuple[bool, bool, bool, float]:
        """Sorts changes, the largest first where sorted downwards."""
        return (
            self.changed("status"),
            self.changed("stance"),
            self.extent == "substance",
            1 - self.likeness,
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Pairs of the records that both sides have answered, and the ids that one side alone has."""

    pairs: list[Pair]
    only_before: list[str]
    only_after: list[str]

    def transitions(self, column: str) -> Counter[tuple[str, str]]:
        return Counter((str(p.before[column]), str(p.after[column])) for p in self.pairs)

    def checks(self) -> dict[str, tuple[int, int]]:
        """By name of check: records that miss it only before, and only after."""
        lost = Counter(name for p in self.pairs for name in p.missed[0] - p.missed[1])
        gained = Counter(name for p in self.pairs for name in p.missed[1] - p.missed[0])
        return {name: (lost[name], gained[name]) for name in sorted({*lost, *gained})}

    def sums(self, column: str) -> tuple[int, int]:
        before = sum(p.before[column] or 0 for p in self.pairs)
        return before, sum(p.after[column] or 0 for p in self.pairs)

    def extents(self) -> Counter[Extent]:
        return Counter(p.extent for p in self.pairs)

    def largest(self) -> list[Pair]:
        """Pairs that differ in status, stance or substance, the largest change first."""
        telling = [
            p
            for p in self.pairs
            if p.changed("status") or p.changed("stance") or p.extent == "substance"
        ]
        return sorted(telling, key=lambda p: p.weight, reverse=True)


def compare(store: Location, before: Side, after: Side) -> Comparison:
    """Pairs the newest answers of two sides by record; holds the answers of both in memory."""
    folder = store.join(ANSWERS_FOLDER)
    old, new = with_parts(folder, lambda parts: _newest_rows(folder, parts, (before, after)))
    pairs = [Pair(old[record_id], new[record_id]) for record_id in old if record_id in new]
    return Comparison(pairs, [i for i in old if i not in new], [i for i in new if i not in old])


def _newest_rows(
    folder: Location, parts: Sequence[str], sides: Sequence[Side]
) -> list[dict[str, Mapping[str, Any]]]:
    """Each side's newest row of every record, by its id, in one pass over the parts."""
    held: list[list[pa.Table]] = [[] for _ in sides]
    for path in parts:
        for rows in read_batches(folder.fs, path, [*COMPARED, *_SIDES]):
            for side, tables in zip(sides, held, strict=True):
                tables.append(rows.filter(side.mask()).select(COMPARED))
    return [_by_record(pa.concat_tables(tables)) for tables in held]


def _by_record(rows: pa.Table) -> dict[str, Mapping[str, Any]]:
    counting = rows.take(newest(row_digests(rows, LATEST), micros(rows)))
    return {row["record_id"]: row for row in counting.to_pylist()}


def extent(before: str, after: str) -> Extent:
    """Whether two answers differ, and whether in more than words.

    In substance they do where their numbers or their negations differ, or where they have too few
    content words in common. A rule of thumb: it errs towards substance.
    """
    if before == after:
        return "same"
    same_numbers = set(_NUMBER.findall(before)) == set(_NUMBER.findall(after))
    same_negations = _negations(before) == _negations(after)
    if same_numbers and same_negations and likeness(before, after) >= ALIKE:
        return "wording"
    return "substance"


def likeness(before: str, after: str) -> float:
    old, new = content_words(before), content_words(after)
    return 2 * len(old & new) / (len(old) + len(new)) if old or new else 1.0


def _negations(text: str) -> int:
    return sum(w in _NEGATIONS or w.endswith(("n't", "n’t")) for w in words_of(text))
