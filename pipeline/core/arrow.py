"""Arrow tables between the stages: prompts and rejects, then outcomes.

Every record that is read reaches the sink. From rendering on, rejects, current records and tallies
stay in Arrow; only `work` rows become Python objects again. Nested columns are built flat, field by
field: `Table.from_pylist` takes ten times as long.
"""

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, repeat
from operator import attrgetter
from typing import Any, TypeVar

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.extra import dump_extra
from pipeline.core.records import (
    BatchLine,
    Message,
    Passage,
    Place,
    Prompt,
    Record,
    Reject,
    Standing,
)

T = TypeVar("T")


def fields(type_: pa.DataType, *names: str) -> list[tuple[str, pa.DataType]]:
    """Fields of one type, for a schema or a struct."""
    return [(name, type_) for name in names]


STRINGS = pa.list_(pa.string())
PASSAGES = pa.list_(pa.struct(fields(pa.string(), "text", "source")))
MESSAGES = pa.list_(pa.struct(fields(pa.string(), "role", "content")))

PREDICTED_SUMS = ("predicted_prompt_tokens", "predicted_cached_tokens")
"""Columns of tallies: prompt tokens by their characters, and those that the prefix cache was
predicted to hold."""

IDENTITY_BYTES = 24
"""What `core/identity.py` writes of a record: digests of its id and its content, and its place."""

_BOOKKEEPING = [("standing", pa.string()), *fields(pa.int64(), "read", "stored_bytes")]
_PREDICTED_SUMS = fields(pa.int64(), *PREDICTED_SUMS)
_RECORD = [
    *fields(pa.string(), "record_id", "paper_id", "question_id", "question", "source_uri"),
    ("source_row", pa.int64()),
    ("passages", PASSAGES),
    ("messages", MESSAGES),
    *fields(pa.string(), "recorded_answer", "boilerplate"),
    ("input_repairs", STRINGS),
    ("extra", pa.string()),
    ("batch", pa.binary()),
    ("identity", pa.binary(IDENTITY_BYTES)),
]
_WITHOUT_TEXTS = Prompt(Record("", Place("", 0)), (), "", "", "")
_KEYS = fields(pa.string(), "paper", "prompt_key", "generation_key")
_REJECTION = [*fields(pa.string(), "reason", "detail"), ("payload", pa.binary())]

PROMPTS = pa.schema(_BOOKKEEPING + _RECORD + _KEYS + _PREDICTED_SUMS + _REJECTION)
"""Rows with the same `paper` belong together; a record without a paper has its generation key
there.
"""


def flow_schema(rows: pa.Schema) -> pa.Schema:
    """The schema of finished rows: bookkeeping, the store's columns `rows`, then a reject's."""
    return pa.schema([*_BOOKKEEPING, *_PREDICTED_SUMS, *rows, *_REJECTION])


def lists_of_structs(
    values: Sequence[Sequence[Any]],
    type_: pa.ListType,
    cells: Callable[[str], Callable[[Any], Any]] = attrgetter,
) -> pa.ListArray:
    """Lists of objects as one `list<struct>` array; `cells(name)` reads that field of an object."""
    flat = [item for value in values for item in value]
    offsets = [0, *accumulate(map(len, values))]
    struct = type_.value_type
    columns = [
        pa.array(map(cells(struct.field(i).name), flat), struct.field(i).type, size=len(flat))
        for i in range(struct.num_fields)
    ]
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), pa.StructArray.from_arrays(columns, fields=list(struct))
    )


def structs_of_lists(column: pa.ChunkedArray, make: Callable[..., T]) -> list[tuple[T, ...]]:
    """Turns a `list<struct>` column into a tuple of `make(*fields)` per row; null becomes ()."""
    array = column.combine_chunks()
    flat = array.flatten()
    fields = [flat.field(i).to_pylist() for i in range(flat.type.num_fields)]
    objects = list(map(make, *fields))
    lengths = pc.fill_null(array.value_lengths(), 0).to_pylist()
    ends = accumulate(lengths)
    return [tuple(objects[end - length : end]) for end, length in zip(ends, lengths, strict=True)]


def build(schema: pa.Schema, columns: dict[str, Any], rows: int) -> pa.Table:
    """A table of `schema` from Python lists and Arrow arrays; absent columns are null."""
    arrays = [
        _as_array(columns[f.name], f.type) if f.name in columns else pa.nulls(rows, f.type)
        for f in schema
    ]
    return pa.table(arrays, schema=schema)


def _as_array(values: Any, type_: pa.DataType) -> pa.Array | pa.ChunkedArray:
    arrow = isinstance(values, (pa.Array, pa.ChunkedArray))
    return values if arrow else pa.array(values, type_)


def carry(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` under a later stage's schema: columns by name, null where `table` has none."""
    columns = {name: table[name] for name in table.column_names}
    return build(schema, columns, table.num_rows)


def tally(schema: pa.Schema, sums: Mapping[str, int]) -> pa.Table:
    """One row of a stage's schema that counts: `read`, `stored_bytes` and any other sums."""
    counts = {"read": 0, "stored_bytes": 0, **sums}
    columns = {"standing": ["tally"], **{name: [total] for name, total in counts.items()}}
    return build(schema, columns, 1)


def slices(table: pa.Table, rows: int) -> list[pa.Table]:
    """A table in pieces of at most this many rows."""
    return [table.slice(start, rows) for start in range(0, table.num_rows, rows)]


def receipt(value: object) -> pa.Table:
    """One row that carries what a stage has counted from its worker to the driver."""
    return pa.table({"receipt": [pickle.dumps(value)]})


def receipts_in(table: pa.Table) -> list[Any]:
    """The values of a table of receipts, which never leave the processes of a run."""
    return list(map(pickle.loads, table["receipt"].to_pylist()))


def pack(tables: Sequence[pa.Table], ranks: Sequence[float] = ()) -> pa.Table:
    """Packs tables of one schema, each into one row, so that Ray cannot split it between blocks.

    With `ranks`, one for each table, the columns of `RANKED` order them among those of other calls.
    """
    offsets = [0, *accumulate(table.num_rows for table in tables)]
    every = pa.concat_tables(tables)
    type_ = pa.struct(list(every.schema))
    (rows,) = every.combine_chunks().to_struct_array().chunks or [pa.array([], type_)]
    packed = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), rows)
    table = pa.table([packed], schema=pa.schema([("rows", pa.list_(type_))]))
    if not ranks:
        return table
    lots = [number * GOLDEN_RATIO % 1 for number in range(len(ranks))]
    for name, column in zip(RANKED, (ranks, lots), strict=True):
        table = table.append_column(name, pa.array(column, pa.float64()))
    return table


GOLDEN_RATIO = 0.6180339887
"""Its multiples, without what stands before the point, are spread evenly."""

RANKED = ("rank", "lot")
"""Columns of packed tables, of which higher ones come first; lots make equal ranks differ, so that
Ray does not bring all of these together in one block."""


def unpack(packed: pa.Table) -> pa.Table:
    """The batch that a packed table of one row holds."""
    rows = packed["rows"].combine_chunks().flatten()
    return pa.Table.from_batches([pa.RecordBatch.from_struct_array(rows)])


def set_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    """Replaces a column's values by a list, or by an Arrow column of the same type."""
    index = table.schema.get_field_index(name)
    field = table.schema.field(index)
    return table.set_column(index, field, _as_array(values, field.type))


def split_work(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Splits off the rows that are still `work` from those that only pass through.

    Where all work stands in front, as tables of items and batches have it, no text is copied.
    """
    work = pc.equal(table["standing"], "work")
    rows = pc.sum(work).as_py() or 0
    if pc.all(work.slice(0, rows), min_count=0).as_py():
        return table.slice(0, rows), table.slice(rows)
    return table.filter(work), table.filter(pc.invert(work))


def first_of_work(table: pa.Table, most: int) -> pa.Table:
    """The table with at most this much work; the rest of it counts as not read."""
    work, rest = split_work(table)
    if work.num_rows <= most:
        return table
    unread = tally(table.schema, {"read": most - work.num_rows})
    return pa.concat_tables([work.slice(0, most), rest, unread])


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
            **_place_columns([r.place for r in rejects]),
        },
        len(rejects),
    )


def prompts_table(
    prompts: Sequence[Prompt], standings: Sequence[Standing], keeps_passages: bool = True
) -> pa.Table:
    """Prompts as a table of `PROMPTS`; those that are not `work` go without texts and `extra`.

    All go without passages unless the table `keeps_passages`.
    """
    with_texts = [
        prompt if standing == "work" else _WITHOUT_TEXTS
        for prompt, standing in zip(prompts, standings, strict=True)
    ]
    records = [p.record for p in with_texts]
    columns = {
        **record_columns([p.record for p in prompts]),
        "standing": standings,
        "question": [r.question for r in records],
        "passages": lists_of_structs(
            [r.passages if keeps_passages else () for r in records], PASSAGES
        ),
        "messages": lists_of_structs([p.messages for p in with_texts], MESSAGES),
        "recorded_answer": [r.recorded_answer for r in records],
        "boilerplate": [p.boilerplate for p in with_texts],
        "extra": [dump_extra(r.extra) for r in records],
        "prompt_key": [p.prompt_key for p in prompts],
        "generation_key": [p.generation_key for p in prompts],
    }
    return build(PROMPTS, columns, len(prompts))


def record_columns(records: Sequence[Record]) -> dict[str, Any]:
    """The columns that stay with a record from its shard to the store."""
    return {
        "record_id": [r.record_id for r in records],
        "paper_id": [r.paper_id for r in records],
        "question_id": [r.question_id for r in records],
        "question": [r.question for r in records],
        "recorded_answer": [r.recorded_answer for r in records],
        "input_repairs": [r.repairs for r in records],
        "batch": [orjson.dumps(r.batch) if r.batch else None for r in records],
        **_place_columns([r.place for r in records]),
    }


def _place_columns(places: Sequence[Place]) -> dict[str, Any]:
    return {"source_uri": [p.uri for p in places], "source_row": [p.row for p in places]}


def table_prompts(table: pa.Table) -> list[Prompt]:
    """The prompts of a `PROMPTS` table whose rows are all `work`."""

    def cells(*names: str) -> Iterable[Any]:
        return (table[name].to_pylist() for name in names)

    records = map(
        Record,
        *cells("record_id"),
        map(Place, *cells("source_uri", "source_row")),
        *cells("paper_id", "question_id", "question"),
        structs_of_lists(table["passages"], Passage),
        repeat(()),
        *cells("recorded_answer"),
        repeat(""),
        (orjson.loads(e) if e else {} for e in table["extra"].to_pylist()),
        map(tuple, *cells("input_repairs")),
        batch_lines(table),
    )
    messages = structs_of_lists(table["messages"], Message)
    return list(
        map(Prompt, records, messages, *cells("boilerplate", "prompt_key", "generation_key"))
    )


def batch_lines(table: pa.Table) -> Iterator[BatchLine | None]:
    """What the line of a batch file says that a record comes from, if it comes from one."""
    return (BatchLine(**orjson.loads(b)) if b else None for b in table["batch"].to_pylist())
