"""Two sets of answers, from two prompts, models or runs, compared record by record."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any, Literal, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.errors import ConfigError, nearest
from pipeline.core.filesystem import Location
from pipeline.core.text import content_words, words_of
from pipeline.store.parts import read_batches, with_parts
from pipeline.store.reader import BY_RECORD, newest, row_digests, written_micros
from pipeline.store.schema import ANSWERS_FOLDER

COLUMNS = (
    "record_id",
    "paper_id",
    "question_id",
    "question",
    "status",
    "stance",
    "answer",
    "checks",
    "word_count",
    "prompt_tokens",
    "completion_tokens",
    "written_at",
    "extra",
)
SUMMED = ("word_count", "prompt_tokens", "completion_tokens")
"""Columns whose sums are compared."""

_SIDE_COLUMNS = ("run_id", "prompt_name", "prompt_version", "model", "model_revision", "adapter")

ChangeKind: TypeAlias = Literal["same", "wording", "substance"]
"""How two answers differ: not at all, in their wording only, or in what they say."""

MIN_SIMILARITY = 0.7
"""Answers that share fewer of their content words differ in substance."""

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*%?")
_NEGATIONS = frozenset({"no", "not", "never", "none", "neither", "nor", "without", "cannot"})


class Side(NamedTuple):
    """One side of a comparison: the rows that have these values in these columns."""

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


def find_sides(store: Location, *names: str) -> list[Side]:
    """The side for each name: a run id, `<prompt>@<version>`, a version, a model,
    `<model>@<revision>`, or an adapter; a model's own side has none.

    Raises `ConfigError` if a name matches nothing in the store, or more than one thing.
    """
    folder = store.join(ANSWERS_FOLDER)
    sides = with_parts(folder, lambda parts: _sides_by_name(folder, parts))
    return [_find_side(name, sides, store.uri) for name in names]


def _find_side(name: str, sides: Mapping[str, set[Side]], store: str) -> Side:
    matches = sides.get(name, set())
    if len(matches) == 1:
        return next(iter(matches))
    if matches:
        listed = ", ".join(sorted(map(str, matches)))
        raise ConfigError(f"{name!r} is ambiguous in {store}: {listed}")
    raise ConfigError(
        f"{name!r}: no run, prompt version or model of that name in {store}"
        f"{nearest(name, sides)}; it has {', '.join(sorted(sides)[:12])}"
    )


def _sides_by_name(folder: Location, parts: Sequence[str]) -> dict[str, set[Side]]:
    combinations: set[tuple[str | None, ...]] = set()
    for path in parts:
        for rows in read_batches(folder.fs, path, _SIDE_COLUMNS):
            cells = (rows[name].to_pylist() for name in _SIDE_COLUMNS)
            combinations.update(zip(*cells, strict=True))
    sides: dict[str, set[Side]] = {}
    adapted = {model for *_, model, _, adapter in combinations if adapter}
    for run, prompt, version, model, revision, adapter in combinations:
        own = (("adapter", adapter),) if model in adapted else ()
        for name, columns in (
            (run, (("run_id", run),)),
            (f"{prompt}@{version}", (("prompt_name", prompt), ("prompt_version", version))),
            (version, (("prompt_name", prompt), ("prompt_version", version))),
            (adapter or model, (("model", model), *own)),
            (
                f"{adapter or model}@{revision}",
                (("model", model), ("model_revision", revision), *own),
            ),
        ):
            sides.setdefault(str(name), set()).add(Side(columns))
    return sides


@dataclass(frozen=True)
class Pair:
    """The newest answers to one record on both sides, as stored rows."""

    before: Mapping[str, Any]
    after: Mapping[str, Any]

    @property
    def record_id(self) -> str:
        return str(self.before["record_id"])

    @property
    def carried(self) -> Mapping[str, Any]:
        """The row with the record's carried columns: that of the second side, if it has any."""
        return self.after if self.after["extra"] else self.before

    @cached_property
    def similarity(self) -> float:
        return similarity(self.before["answer"] or "", self.after["answer"] or "")

    @cached_property
    def change_kind(self) -> ChangeKind:
        return kind_of_change(self.before["answer"] or "", self.after["answer"] or "")

    @property
    def missed_checks(self) -> tuple[frozenset[str], frozenset[str]]:
        before, after = (
            frozenset(c["name"] for c in row["checks"] if not c["passed"])
            for row in (self.before, self.after)
        )
        return before, after

    def changed(self, column: str) -> bool:
        return bool(self.before[column] != self.after[column])

    @property
    def size_of_change(self) -> tuple[bool, bool, bool, float]:
        """A sort key: status outweighs stance, stance outweighs what the answer says."""
        return (
            self.changed("status"),
            self.changed("stance"),
            self.change_kind == "substance",
            1 - self.similarity,
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Pairs for the records answered on both sides, and the ids of those answered on one."""

    pairs: list[Pair]
    only_before: list[str]
    only_after: list[str]

    def transitions(self, column: str) -> Counter[tuple[str, str]]:
        return Counter((str(p.before[column]), str(p.after[column])) for p in self.pairs)

    def check_changes(self) -> dict[str, tuple[int, int]]:
        """By check: how many records miss it only before, and how many only after."""
        missed = [p.missed_checks for p in self.pairs]
        fixed = Counter(name for before, after in missed for name in before - after)
        broken = Counter(name for before, after in missed for name in after - before)
        return {name: (fixed[name], broken[name]) for name in sorted({*fixed, *broken})}

    def sums(self, column: str) -> tuple[int, int]:
        before = sum(p.before[column] or 0 for p in self.pairs)
        return before, sum(p.after[column] or 0 for p in self.pairs)

    def change_kinds(self) -> Counter[ChangeKind]:
        return Counter(p.change_kind for p in self.pairs)

    def largest_changes(self) -> list[Pair]:
        """Pairs that differ in status, stance or substance, largest change first."""
        changed = [
            p
            for p in self.pairs
            if p.changed("status") or p.changed("stance") or p.change_kind == "substance"
        ]
        return sorted(changed, key=lambda p: p.size_of_change, reverse=True)


def compare(store: Location, before: Side, after: Side) -> Comparison:
    """Pairs the newest answers of two sides by record. Keeps both sides in memory."""
    folder = store.join(ANSWERS_FOLDER)
    old, new = with_parts(folder, lambda parts: _newest_rows(folder, parts, (before, after)))
    pairs = [Pair(old[record_id], new[record_id]) for record_id in old if record_id in new]
    return Comparison(pairs, [i for i in old if i not in new], [i for i in new if i not in old])


def read_prompts(
    store: Location, side: Side, record_ids: Iterable[str]
) -> dict[str, list[dict[str, str]]]:
    """The messages of some records' newest prompts on one side."""
    folder, ids = store.join(ANSWERS_FOLDER), pa.array(list(record_ids), pa.string())
    columns = ["record_id", "messages", "written_at", *_SIDE_COLUMNS]

    def read(parts: Sequence[str]) -> dict[str, list[dict[str, str]]]:
        tables = (rows for path in parts for rows in read_batches(folder.fs, path, columns))
        wanted = (rows.filter(side.mask() & pc.field("record_id").isin(ids)) for rows in tables)
        found = sorted(
            (row for rows in wanted for row in rows.to_pylist()), key=itemgetter("written_at")
        )
        return {row["record_id"]: row["messages"] for row in found}

    return with_parts(folder, read)


def template_of(runs: Iterable[Mapping[str, Any]], side: Side) -> Mapping[str, str] | None:
    """The prompt template of a side, as the latest run that fits it wrote it down; None for a side
    that is not one of a prompt or a run.
    """
    columns = dict(side.columns)
    wanted = {
        name: columns[column]
        for name, column in (("name", "prompt_name"), ("version", "prompt_version"))
        if column in columns
    }
    found = [
        run["prompt"]
        for run in runs
        if run["run_id"] == columns.get("run_id")
        or (wanted and all(run["prompt"][name] == value for name, value in wanted.items()))
    ]
    return found[-1] if found else None


def _newest_rows(
    folder: Location, parts: Sequence[str], sides: Sequence[Side]
) -> list[dict[str, Mapping[str, Any]]]:
    """For each side, the newest row of every record by its id, in one pass over the parts."""
    tables_by_side: list[list[pa.Table]] = [[] for _ in sides]
    for path in parts:
        for rows in read_batches(folder.fs, path, [*COLUMNS, *_SIDE_COLUMNS]):
            for side, tables in zip(sides, tables_by_side, strict=True):
                tables.append(rows.filter(side.mask()).select(COLUMNS))
    return [_by_record(pa.concat_tables(tables)) for tables in tables_by_side]


def _by_record(rows: pa.Table) -> dict[str, Mapping[str, Any]]:
    counting = rows.take(newest(row_digests(rows, BY_RECORD), written_micros(rows)))
    return {row["record_id"]: row for row in counting.to_pylist()}


def kind_of_change(before: str, after: str) -> ChangeKind:
    """Whether two answers differ in wording or in substance.

    They differ in substance if their numbers or negations differ, or if they share too few content
    words. This is a rule of thumb, and in doubt it says "substance".
    """
    if before == after:
        return "same"
    same_numbers = set(_NUMBER.findall(before)) == set(_NUMBER.findall(after))
    same_negations = _negations(before) == _negations(after)
    if same_numbers and same_negations and similarity(before, after) >= MIN_SIMILARITY:
        return "wording"
    return "substance"


def similarity(before: str, after: str) -> float:
    """Dice coefficient of the stemmed content words of two texts, from 0 to 1."""
    old, new = content_words(before), content_words(after)
    return 2 * len(old & new) / (len(old) + len(new)) if old or new else 1.0


def _negations(text: str) -> int:
    return sum(w in _NEGATIONS or w.endswith(("n't", "n’t")) for w in words_of(text))
