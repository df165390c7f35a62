"""Arrow tables between the stages: records and rejects, then prompts, then outcomes.

Every row read travels to the sink. A reject, a current record and a tally ride along in
Arrow, untouched by Python; only `work` rows become objects. The columns are built flat, field
by field, because `Table.from_pylist` costs ten times as much on nested rows.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, repeat
from operator import attrgetter
from typing import Any, TypeVar

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.records import (
    Item,
    Message,
    Passage,
    Place,
    Prompt,
    Record,
    Reject,
    Standing,
    Tally,
)

T = TypeVar("T")

STRINGS = pa.list_(pa.string())
PASSAGES = pa.list_(pa.struct([("text", pa.string()), ("source", pa.string())]))
MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))

_BOOKKEEPING = [("standing", pa.string()), ("read", pa.int64()), ("stored_bytes", pa.int64())]
PREFIX_SUMS = (
    "first_prompt_tokens",
    "first_cached_tokens",
    "predicted_prompt_tokens",
    "predicted_cached_tokens",
)
"""In tallies: the tokens of all first attempts and what the prefix cache held of them; those of a
sample of papers and what it was thought to hold.
"""

_IDENTITY = [
    ("record_id", pa.string()),
    ("paper_id", pa.string()),
    ("question_id", pa.string()),
    ("question", pa.string()),
]
_SOURCE = [("source_uri", pa.string()), ("source_row", pa.int64())]
_CONTENT = [
    ("passages", PASSAGES),
    ("messages", MESSAGES),
    ("recorded_answer", pa.string()),
    ("boilerplate", pa.string()),
    ("input_repairs", STRINGS),
]
REJECTION = [("reason", pa.string()), ("detail", pa.string()), ("payload", pa.binary())]

ITEMS = pa.schema(
    _BOOKKEEPING + _IDENTITY + _SOURCE + _CONTENT + [("extra", pa.binary())] + REJECTION
)
PROMPTS = pa.schema(
    _BOOKKEEPING
    + _IDENTITY
    + _SOURCE
    + _CONTENT
    + [(name, pa.string()) for name in ("paper", "prompt_key", "generation_key")]
    + [("extra", pa.binary()), *((name, pa.int64()) for name in PREFIX_SUMS)]
    + REJECTION
)
"""`paper` says which rows belong together: those of a paper; a record that names none, alone."""

BATCHES = pa.schema([("rows", pa.list_(pa.struct(list(PROMPTS))))])
"""A row is a whole table of prompts, which Ray moves about and does not take apart."""


def flow_schema(rows: pa.Schema) -> pa.Schema:
    """The schema of finished rows: bookkeeping, the store's columns `rows`, the reject's own."""
    kept = [*_BOOKKEEPING, *((name, pa.int64()) for name in PREFIX_SUMS)]
    return pa.schema([*pa.schema(kept), *rows, *pa.schema(REJECTION)])


def lists_of_structs(
    values: Sequence[Sequence[Any]],
    type_: pa.ListType,
    cells: Callable[[str], Callable[[Any], Any]] = attrgetter,
) -> pa.ListArray:
    """Sequences of objects as one `list<struct>` array; `cells(field)` reads a field's value."""
    flat = [item for value in values for item in value]
    offsets = [0]
    for value in values:
        offsets.append(offsets[-1] + len(value))
    struct = type_.value_type
    columns = [
        pa.array(map(cells(struct.field(i).name), flat), struct.field(i).type, size=len(flat))
        for i in range(struct.num_fields)
    ]
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), pa.StructArray.from_arrays(columns, fields=list(struct))
    )


def structs_of_lists(column: pa.ChunkedArray, make: Callable[..., T]) -> list[tuple[T, ...]]:
    """The reverse: a `list<struct>` column as one tuple of `make(*fields)` a row; null is ()."""
    array = column.combine_chunks()
    flat = array.flatten()
    fields = [flat.field(i).to_pylist() for i in range(flat.type.num_fields)]
    made = list(map(make, *fields))
    lengths = pc.fill_null(array.value_lengths(), 0).to_pylist()
    rows, start = [], 0
    for length in lengths:
        rows.append(tuple(made[start : start + length]))
        start += length
    return rows


def build(schema: pa.Schema, columns: dict[str, Any], rows: int) -> pa.Table:
    """A table of `schema` from Python lists and arrays; absent columns are null."""
    return pa.table(
        [
            pa.nulls(rows, f.type)
            if f.name not in columns
            else c
            if isinstance(c := columns[f.name], pa.Array)
            else pa.array(c, f.type)
            for f in schema
        ],
        schema=schema,
    )


def carry(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` under a later stage's schema: its columns by name, null where it has none."""
    held = set(table.column_names)
    return pa.table(
        [
            table.column(f.name) if f.name in held else pa.nulls(table.num_rows, f.type)
            for f in schema
        ],
        schema=schema,
    )


def pack(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables of `PROMPTS`, one a row."""
    offsets = [0, *accumulate(table.num_rows for table in tables)]
    (rows,) = pa.concat_tables(tables).combine_chunks().to_struct_array().chunks or [
        pa.array([], BATCHES.field("rows").type.value_type)
    ]
    return pa.table([pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), rows)], schema=BATCHES)


def unpack(packed: pa.Table) -> pa.Table:
    """The table in a row of `BATCHES`."""
    rows = packed["rows"].combine_chunks().flatten()
    return pa.Table.from_batches([pa.RecordBatch.from_struct_array(rows)], schema=PROMPTS)


def set_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    """The table with other values in a column: a list, or an Arrow column of its type."""
    at = table.schema.get_field_index(name)
    field = table.schema.field(at)
    held = values if isinstance(values, pa.ChunkedArray) else pa.array(values, field.type)
    return table.set_column(at, field, held)


def split_work(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The rows still to be worked on, and the rest, which rides along."""
    work = pc.equal(table["standing"], "work")
    return table.filter(work), table.filter(pc.invert(work))


def items_table(items: Sequence[Item]) -> pa.Table:
    """Records, rejects and tallies as one table of `ITEMS`, in order of kind."""
    records = [i for i in items if isinstance(i, Record)]
    rejects = [i for i in items if isinstance(i, Reject)]
    tallies = [i for i in items if isinstance(i, Tally)]
    return pa.concat_tables(
        [_records_table(records), rejects_table(rejects, ITEMS), _tallies_table(tallies)]
    )


def rejects_table(rejects: Sequence[Reject], schema: pa.Schema) -> pa.Table:
    """Rejects as rows of a stage's schema."""
    return build(
        schema,
        {
            "standing": ["rejected"] * len(rejects),
            "record_id": [r.record_id for r in rejects],
            "reason": [r.reason for r in rejects],
            "detail": [r.detail for r in rejects],
            "payload": [r.payload for r in rejects],
            **_places(r.place for r in rejects),
        },
        len(rejects),
    )


def _tallies_table(tallies: Sequence[Tally]) -> pa.Table:
    columns = {
        "standing": ["tally"] * len(tallies),
        "read": [t.read for t in tallies],
        "stored_bytes": [t.stored_bytes for t in tallies],
    }
    return build(ITEMS, columns, len(tallies))


def _records_table(records: Sequence[Record]) -> pa.Table:
    columns = {
        "standing": ["work"] * len(records),
        "passages": lists_of_structs([r.passages for r in records], PASSAGES),
        "messages": lists_of_structs([r.messages for r in records], MESSAGES),
        "boilerplate": [r.boilerplate for r in records],
        "extra": [dump_extra(r.extra) for r in records],
        **record_columns(records),
    }
    return build(ITEMS, columns, len(records))


def prompts_table(prompts: Sequence[Prompt], standings: Sequence[Standing]) -> pa.Table:
    """Prompts as a table of `PROMPTS`; one that is not `work` rides along without its payload."""
    at_work = [s == "work" for s in standings]
    columns = {
        "standing": standings,
        "passages": lists_of_structs(
            [p.record.passages if w else () for p, w in zip(prompts, at_work, strict=True)],
            PASSAGES,
        ),
        "messages": lists_of_structs(
            [p.messages if w else () for p, w in zip(prompts, at_work, strict=True)], MESSAGES
        ),
        "boilerplate": [p.boilerplate for p in prompts],
        "extra": [
            dump_extra(p.record.extra) if w else None for p, w in zip(prompts, at_work, strict=True)
        ],
        "prompt_key": [p.prompt_key for p in prompts],
        "generation_key": [p.generation_key for p in prompts],
        **record_columns([p.record for p in prompts]),
    }
    return build(PROMPTS, columns, len(prompts))


def record_columns(records: Sequence[Record]) -> dict[str, Any]:
    """The columns that a record keeps from shard to store."""
    return {
        "record_id": [r.record_id for r in records],
        "paper_id": [r.paper_id for r in records],
        "question_id": [r.question_id for r in records],
        "question": [r.question for r in records],
        "recorded_answer": [r.recorded_answer for r in records],
        "input_repairs": [r.repairs for r in records],
        **_places(r.place for r in records),
    }


def _places(places: Iterable[Place]) -> dict[str, Any]:
    held = list(places)
    return {
        "source_uri": [p.uri for p in held],
        "source_row": [p.row for p in held],
    }


def table_records(table: pa.Table) -> list[Record]:
    """The records of an `ITEMS` table whose rows are all `work`."""
    messages = structs_of_lists(table["messages"], Message)
    extras = (orjson.loads(e) if e else {} for e in table["extra"].to_pylist())
    return _table_records(table, messages, table["boilerplate"].to_pylist(), extras)


def table_prompts(table: pa.Table) -> list[Prompt]:
    """The prompts of a `PROMPTS` table whose rows are all `work`."""
    extras = (orjson.loads(e) if e else {} for e in table["extra"].to_pylist())
    return list(
        map(
            Prompt,
            _table_records(table, repeat(()), repeat(""), extras),
            structs_of_lists(table["messages"], Message),
            *(table[c].to_pylist() for c in ("boilerplate", "prompt_key", "generation_key")),
        )
    )


def _table_records(
    table: pa.Table,
    messages: Iterable[tuple[Message, ...]],
    boilerplates: Iterable[str],
    extras: Iterable[dict[str, Any]],
) -> list[Record]:
    def cells(*names: str) -> Iterable[Any]:
        return (table[name].to_pylist() for name in names)

    return list(
        map(
            Record,
            *cells("record_id"),
            map(Place, *cells("source_uri", "source_row")),
            *cells("paper_id", "question_id", "question"),
            structs_of_lists(table["passages"], Passage),
            messages,
            *cells("recorded_answer"),
            boilerplates,
            extras,
            map(tuple, *cells("input_repairs")),
        )
    )


def dump_extra(extra: Mapping[str, Any]) -> bytes | None:
    """Columns of the user's own, as JSON: text for what JSON has no type for.

    Raises `TypeError` for what is nested deeper than the encoder goes.
    """
    return orjson.dumps(extra, default=str, option=orjson.OPT_NON_STR_KEYS) if extra else None
