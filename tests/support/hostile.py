"""Generates a folder of hostile input files, and what reading each must give.

The files are the same byte for byte each time. The expectations are the contract: everything before
damaged data is read, whatever is lost becomes a reject with a reason, and no file stops a job. They
hold for `input.format: auto` with `max_record_bytes: MAX_RECORD_BYTES`.
"""

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.schema import TextGrammar
from pipeline.core.records import RejectReason

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX_RECORD_BYTES = 256 * 1024

QUESTION = "Which lamp do the lighthouse keepers trust in fog?"
PASSAGES = ["Fog swallows the white lamp first.", "The keepers light the amber one at dusk."]
PLACE = "<uri>"
"""Placeholder in `Expected.ids` for the URI of the file."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What reading one file must give; rejects are (row, reason), in order.

    `ids` are the record ids in order, or None if they do not matter; `repairs` are those of every
    record.
    """

    records: int = 0
    rejects: tuple[tuple[int, RejectReason], ...] = ()
    ids: tuple[str, ...] | None = None
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HostileFile:
    data: bytes
    expected: Expected


def make_hostile_folder(folder: Path) -> dict[str, Expected]:
    """Writes the files into `folder`; returns what each must give, by file name."""
    folder.mkdir(parents=True, exist_ok=True)
    files = hostile_files()
    for name, file in files.items():
        (folder / name).write_bytes(file.data)
    return {name: file.expected for name, file in files.items()}


@cache
def hostile_files() -> dict[str, HostileFile]:
    """The files by name, sorted like a listing."""
    groups: tuple[Callable[[], dict[str, HostileFile]], ...] = (
        _broken_lines,
        _encodings,
        _numbers_and_nesting,
        _fields,
        _ready_prompts,
        _batches,
        _sizes,
        _gzips,
        _zstds,
        _parquets,
        _parquet_rows,
        _tables,
        _broken_tables,
        _packed_tables,
        _arrays,
        _strangers,
        _texts,
        _texts_without_grammar,
    )
    all_files: dict[str, HostileFile] = {}
    for group in groups:
        files = group()
        assert not all_files.keys() & files.keys()
        all_files |= files
    return dict(sorted(all_files.items()))


def record_line(record_id: Any, **fields: Any) -> bytes:
    """A valid JSON line with newline; `fields` add or replace fields, and `...` removes one."""
    row = {"id": record_id, "question": QUESTION, "passages": PASSAGES} | fields
    present = {name: value for name, value in row.items() if value is not ...}
    return json.dumps(present, ensure_ascii=False).encode() + b"\n"


def record_lines(count: int) -> bytes:
    return b"".join(record_line(f"r{i}") for i in range(count))


def ids(count: int) -> tuple[str, ...]:
    """The ids of `record_lines(count)`."""
    return tuple(f"r{i}" for i in range(count))


def text_file(
    context: str = "\n\n".join(PASSAGES),
    question: str = QUESTION,
    answer: str = " The amber one.",
    instructions: str = "Read the log of the lighthouse and name a lamp.",
    grammar: TextGrammar | None = None,
) -> str:
    """A record as text in the grammar."""
    g = grammar or TextGrammar()
    return (
        f"{g.preamble}\n\n{context}\n\n{g.before_instructions}{instructions}"
        f"{g.before_question}{question}{g.after_question}{answer}"
    )


def parquet_bytes(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def record_table(count: int, **columns: Any) -> pa.Table:
    """Valid rows as a table; `columns` add or replace columns, and None removes one."""
    cells = {
        "id": list(ids(count)),
        "question": [f"{QUESTION} Night {i}." for i in range(count)],
        "passages": [PASSAGES] * count,
    } | columns
    return pa.table({name: values for name, values in cells.items() if values is not None})


def with_damaged_column(data: bytes, group: int, column: str, start: float = 0.0) -> bytes:
    """Parquet with one column chunk of a row group overwritten, from the fraction `start` on."""
    row_group = pq.read_metadata(io.BytesIO(data)).row_group(group)
    chunk = next(
        c
        for i in range(row_group.num_columns)
        if (c := row_group.column(i)).path_in_schema == column
    )
    first = min(o for o in (chunk.dictionary_page_offset, chunk.data_page_offset) if o)
    last = first + chunk.total_compressed_size
    first += int(chunk.total_compressed_size * start)
    return data[:first] + b"\xff" * (last - first) + data[last:]


def not_utf8_strings(values: Iterable[bytes]) -> pa.Array:
    """A string column whose bytes are not checked, as careless writers make it."""
    return pa.array(values, pa.binary()).view(pa.string())


def _lines(data: bytes, *rejects: tuple[int, RejectReason], **expected: Any) -> HostileFile:
    return HostileFile(data, Expected(rejects=rejects, **expected))


def _good(data: bytes, records: int, **expected: Any) -> HostileFile:
    return HostileFile(data, Expected(records=records, **expected))


def _nothing(data: bytes, reason: RejectReason) -> HostileFile:
    """A file from which nothing can be read."""
    return HostileFile(data, Expected(rejects=((0, reason),)))


def _between(bad: bytes, reason: RejectReason) -> HostileFile:
    """One invalid line between two valid ones."""
    data = record_line("before") + bad.rstrip(b"\n") + b"\n" + record_line("after")
    return _lines(data, (1, reason), records=2, ids=("before", "after"))


def _broken_lines() -> dict[str, HostileFile]:
    good = record_line("good")
    return {
        "broken-line.jsonl": _between(b'{"id": "torn", "question": ', "invalid_json"),
        "two-documents-on-a-line.jsonl": _between(good.strip() + b" " + good, "invalid_json"),
        "comma-after-a-line.jsonl": _between(good.strip() + b",", "invalid_json"),
        "not-objects.jsonl": _lines(
            b'[1, 2]\n3\n"a string"\nnull\ntrue\n' + good,
            *((row, "wrong_type") for row in range(5)),
            records=1,
            ids=("good",),
        ),
        "pretty-printed.json": _lines(b'{\n  "id": "spread over lines"\n}\n', (0, "invalid_json")),
        "cut-at-the-end.jsonl": _lines(
            record_lines(2) + record_line("r2")[:40],
            (2, "invalid_json"),
            records=2,
            ids=ids(2),
        ),
        "no-last-newline.jsonl": _good(record_lines(2).rstrip(b"\n"), 2, ids=ids(2)),
        "blank-lines-between.jsonl": _lines(
            b"\n\n" + record_line("r0") + b"  \t \n\n" + b"{\n" + record_line("r1") + b"\n\n",
            (5, "invalid_json"),
            records=2,
            ids=ids(2),
        ),
        "crlf.jsonl": _good(record_lines(3).replace(b"\n", b"\r\n"), 3, ids=ids(3)),
        "only-newlines.jsonl": _nothing(b"\n" * 1000, "empty_file"),
        "only-blanks.ndjson": _nothing(b" \t\r\n" * 10, "empty_file"),
        "empty.jsonl": _nothing(b"", "empty_file"),
    }


def _encodings() -> dict[str, HostileFile]:
    two = record_lines(2)
    return {
        "bom.jsonl": _good(b"\xef\xbb\xbf" + two, 2, ids=ids(2)),
        "bom-in-the-middle.jsonl": _between(b"\xef\xbb\xbf" + record_line("b"), "invalid_json"),
        "utf16.jsonl": _lines(
            b"\xff\xfe" + two.rstrip(b"\n").decode().encode("utf-16-le"),
            (0, "not_utf8"),
            (1, "invalid_json"),
        ),
        "latin1-line.jsonl": _between(
            record_line("l", question="Où brûle la lampe ?").decode().encode("latin-1"), "not_utf8"
        ),
        "lone-surrogate.jsonl": _between(
            record_line("s", question="SURROGATE").replace(b"SURROGATE", rb"half \ud800 a sign"),
            "invalid_json",
        ),
        "whole-surrogate-pair.jsonl": _good(
            record_line("p", question="PAIR").replace(b"PAIR", rb"\ud83d\udca1 lamp"), 1, ids=("p",)
        ),
        "nul-in-strings.jsonl": _good(
            record_line("n\0id", question="a\0b?", passages=["\0"]), 1, ids=("n\0id",)
        ),
        "nul-bytes-in-a-line.jsonl": _between(
            record_line("z").replace(b"lamp", b"la\0mp"), "invalid_json"
        ),
        "line-of-nul-bytes.jsonl": _between(b"\0" * 4096, "invalid_json"),
        "mojibake.jsonl": _good(
            record_line("m", question="Is the keeper’s lamp — the amber one — lit?")
            .decode("mac_roman")
            .encode(),
            1,
            repairs=("mac_roman",),
        ),
    }


def _numbers_and_nesting() -> dict[str, HostileFile]:
    deep = b"[" * 100_000 + b"]" * 100_000
    extra = record_line("d", odd="DEEP")
    return {
        "nan.jsonl": _between(record_line("n", score=float("nan")), "invalid_json"),
        "infinity.jsonl": _lines(
            record_line("i", score=float("inf"))
            + record_line("j", score=float("-inf"))
            + record_line("good"),
            (0, "invalid_json"),
            (1, "invalid_json"),
            records=1,
        ),
        "nested-100000-deep.jsonl": _between(deep, "invalid_json"),
        "passages-100000-deep.jsonl": _between(
            record_line("d", passages="DEEP").replace(b'"DEEP"', deep), "invalid_json"
        ),
        # JSON readers accept more levels than JSON writers, and extra columns are written.
        "extra-300-deep.jsonl": _between(
            extra.replace(b'"DEEP"', b"[" * 300 + b"]" * 300), "wrong_type"
        ),
        "extra-100-deep.jsonl": _good(
            extra.replace(b'"DEEP"', b"[" * 100 + b"]" * 100), 1, ids=("d",)
        ),
        "duplicate-keys.jsonl": _good(
            record_line("kept").replace(b'{"id"', b'{"id": "first", "id"'), 1, ids=("kept",)
        ),
        "huge-integer.jsonl": _good(record_line("h", year=10**40), 1, ids=("h",)),
        "huge-exponent.jsonl": _between(
            record_line("e", year=0).replace(b'"year": 0', b'"year": 1e999'), "invalid_json"
        ),
        "id-kinds.jsonl": _lines(
            b"".join(map(record_line, [7, True, [1], None, "", -1, 2**64 - 1, 1.5, {"a": 1}, ...])),
            (1, "wrong_type"),
            (2, "wrong_type"),
            (7, "wrong_type"),
            (8, "wrong_type"),
            records=6,
            ids=(
                "7",
                f"{PLACE}#3",
                f"{PLACE}#4",
                "-1",
                "18446744073709551615",
                f"{PLACE}#9",
            ),
        ),
    }


def _fields() -> dict[str, HostileFile]:
    def passages(*values: Any) -> bytes:
        return b"".join(record_line(f"p{i}", passages=v) for i, v in enumerate(values))

    def questions(*values: Any) -> bytes:
        return b"".join(record_line(f"q{i}", question=v) for i, v in enumerate(values))

    return {
        "missing-question.jsonl": _between(record_line("m", question=...), "missing_field"),
        "blank-questions.jsonl": _lines(
            questions("", "  ", "\n", "?"),
            (0, "missing_field"),
            (1, "missing_field"),
            (2, "missing_field"),
            records=1,
            ids=("q3",),
        ),
        "question-kinds.jsonl": _lines(
            questions(["why?"], 4, False, {"text": "why?"}, None),
            (0, "wrong_type"),
            (1, "wrong_type"),
            (2, "wrong_type"),
            (3, "wrong_type"),
            (4, "missing_field"),
        ),
        "missing-passages.jsonl": _between(record_line("m", passages=...), "missing_field"),
        "passages-kinds.jsonl": _lines(
            passages(None, 5, "one text", {"text": "one object"}, False),
            (0, "missing_field"),
            (1, "wrong_type"),
            (3, "wrong_type"),
            (4, "wrong_type"),
            records=1,
            ids=("p2",),
        ),
        "passage-kinds.jsonl": _lines(
            passages(
                ["fine", 5],
                [{"source": "a log"}],
                [{"text": None}],
                [["nested"]],
                [None],
                [{"text": "fine", "source": 5}],
                [{"text": "fine", "source": "a log"}, "fine", {"text": "fine"}],
            ),
            (0, "wrong_type"),
            (1, "missing_field"),
            (2, "missing_field"),
            (3, "wrong_type"),
            (4, "wrong_type"),
            (5, "wrong_type"),
            records=1,
            ids=("p6",),
        ),
        "no-passages-is-a-record.jsonl": _good(record_line("e", passages=[]), 1, ids=("e",)),
        "other-fields-of-a-wrong-kind.jsonl": _lines(
            record_line("a", paper_id=["x"])
            + record_line("b", question_id={})
            + record_line("c", answer=3),
            (0, "wrong_type"),
            (1, "wrong_type"),
            (2, "wrong_type"),
        ),
        "empty-object.jsonl": _between(b"{}", "missing_field"),
    }


def _ready_prompts() -> dict[str, HostileFile]:
    def ready(**fields: Any) -> bytes:
        return record_line("r", question=..., passages=..., **fields)

    def with_content(content: Any) -> bytes:
        return ready(messages=[{"role": "user", "content": content}])

    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    text = {"type": "text", "text": "Which lamp is this?"}
    return {
        "neither-question-nor-prompt.jsonl": _between(ready(), "missing_field"),
        "prompt-kinds.jsonl": _lines(
            ready(prompt="Name a lamp.") + ready(prompt=["Name", "a lamp."]) + ready(prompt=""),
            (1, "wrong_type"),
            (2, "missing_field"),
            records=1,
        ),
        "messages-kinds.jsonl": _lines(
            ready(messages=[])
            + ready(messages={"role": "user", "content": "Name a lamp."})
            + ready(messages="Name a lamp.")
            + ready(messages=["Name a lamp."])
            + ready(messages=[{"content": "Name a lamp."}])
            + ready(messages=[{"role": 1, "content": "Name a lamp."}]),
            (0, "missing_field"),
            (1, "wrong_type"),
            (2, "wrong_type"),
            (3, "wrong_type"),
            (4, "missing_field"),
            (5, "wrong_type"),
        ),
        "message-without-content.jsonl": _lines(
            ready(messages=[{"role": "user"}]) + with_content(None) + with_content("Name a lamp."),
            (0, "missing_field"),
            (1, "missing_field"),
            records=1,
        ),
        "message-with-an-image.jsonl": _lines(
            with_content([text, image]) + with_content([text, text]) + with_content(7),
            (0, "wrong_type"),
            (2, "wrong_type"),
            records=1,
        ),
    }


def _batches() -> dict[str, HostileFile]:
    def batch(custom_id: Any, body: Any) -> bytes:
        row = {"custom_id": custom_id, "method": "POST", "url": "/v1/x", "body": body}
        present = {name: value for name, value in row.items() if value is not ...}
        return json.dumps(present).encode() + b"\n"

    chat = {"model": "m", "messages": [{"role": "user", "content": "Name a lamp."}]}
    return {
        "batch-chat.jsonl": _good(batch("b-1", chat) + batch(2, chat), 2, ids=("b-1", "2")),
        "batch-completions.jsonl": _good(
            batch("c-1", {"model": "m", "prompt": "Name a lamp:"}), 1, ids=("c-1",)
        ),
        "batch-broken.jsonl": _lines(
            batch("text", json.dumps(chat))
            + batch(..., chat)
            + batch("list", [chat])
            + batch("embedding", {"model": "m", "input": "Name a lamp."})
            + batch("tokens", {"model": "m", "prompt": [1, 2, 3]})
            + batch("no body", ...)
            + batch("good", chat),
            (0, "missing_field"),
            (1, "missing_field"),
            (2, "missing_field"),
            (3, "missing_field"),
            (4, "wrong_type"),
            (5, "missing_field"),
            records=1,
            ids=("good",),
        ),
    }


def _sizes() -> dict[str, HostileFile]:
    long = record_line("long", passages=["drizzle " * (MAX_RECORD_BYTES // 8)])
    longest = record_line("edge", passages=[""])
    at_limit = record_line("edge", passages=["x" * (MAX_RECORD_BYTES + 1 - len(longest))])
    assert len(at_limit.rstrip(b"\n")) == MAX_RECORD_BYTES
    return {
        "line-over-the-limit.jsonl": _between(long, "too_large"),
        "last-line-over-the-limit.jsonl": _lines(
            record_line("r0") + long.rstrip(b"\n"), (1, "too_large"), records=1, ids=ids(1)
        ),
        "line-at-the-limit.jsonl": _good(at_limit + record_line("r0"), 2, ids=("edge", "r0")),
        "one-endless-line.jsonl.gz": _nothing(
            gzip.compress(b" " * (8 * MAX_RECORD_BYTES) + b"x", mtime=0), "too_large"
        ),
        "row-over-the-limit.parquet": HostileFile(
            parquet_bytes(
                record_table(
                    3, passages=[["short"], ["drizzle " * (MAX_RECORD_BYTES // 8)], ["short"]]
                )
            ),
            Expected(2, ((1, "too_large"),), ("r0", "r2")),
        ),
    }


def _gzips() -> dict[str, HostileFile]:
    lines = record_lines(40)
    packed = gzip.compress(lines, mtime=0)
    # Stored without compression, so that a byte of the file is a byte of the data.
    stored = gzip.compress(lines, compresslevel=0, mtime=0)
    cut = stored[: stored.index(b'"r30"')]
    return {
        "empty-file.jsonl.gz": _nothing(b"", "empty_file"),
        "empty-member.jsonl.gz": _nothing(gzip.compress(b"", mtime=0), "empty_file"),
        "cut.jsonl.gz": _lines(cut, (30, "truncated"), records=30, ids=ids(30)),
        "cut-while-deflated.jsonl.gz": _cut_gzip(packed[: len(packed) * 2 // 3]),
        "cut-in-the-checksum.jsonl.gz": _lines(
            packed[:-3], (40, "truncated"), records=40, ids=ids(40)
        ),
        "cut-in-the-header.jsonl.gz": _nothing(packed[:5], "truncated"),
        "garbage-behind.jsonl.gz": _lines(
            packed + b"rust and salt", (40, "corrupt"), records=40, ids=ids(40)
        ),
        "zeros-behind.jsonl.gz": _good(packed + bytes(512), 40, ids=ids(40)),
        "flipped-block-header.jsonl.gz": _nothing(
            packed[:10] + bytes([packed[10] | 0b110]) + packed[11:], "corrupt"
        ),
        "flipped-bit-in-the-data.jsonl.gz": _lines(
            stored.replace(b"keepers", b"keeper3", 1), (40, "corrupt"), records=40, ids=ids(40)
        ),
        "flipped-checksum.jsonl.gz": _lines(
            packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:],
            (40, "corrupt"),
            records=40,
            ids=ids(40),
        ),
        "two-members.jsonl.gz": _good(
            gzip.compress(record_line("first"), mtime=0)
            + gzip.compress(record_line("second"), mtime=0),
            2,
            ids=("first", "second"),
        ),
        "second-member-cut.jsonl.gz": _lines(
            packed + packed[:20], (40, "truncated"), records=40, ids=ids(40)
        ),
        "plain-inside.jsonl.gz": _good(record_lines(2), 2, ids=ids(2)),
        "gzip-inside.jsonl": _good(packed, 40, ids=ids(40)),
        "gzip-twice.jsonl.gz": _nothing(
            gzip.compress(gzip.compress(b"{}", compresslevel=0, mtime=0), mtime=0), "not_utf8"
        ),
        "wrapped.parquet.gz": _nothing(
            gzip.compress(parquet_bytes(record_table(2)), mtime=0), "corrupt"
        ),
    }


def _cut_gzip(data: bytes) -> HostileFile:
    """Gzip data that ends within a line; expects what zlib itself can decompress of it."""
    whole = zlib.decompressobj(wbits=31).decompress(data).count(b"\n")
    assert 0 < whole < 40
    return _lines(data, (whole, "truncated"), records=whole, ids=ids(whole))


def _zstds() -> dict[str, HostileFile]:
    packed = zstd.compress(record_lines(40))
    # One block per line, so that it is known what a cut leaves.
    packer = zstd.ZstdCompressor()
    blocks = [
        packer.compress(record_line(f"r{i}"), zstd.ZstdCompressor.FLUSH_BLOCK) for i in range(9)
    ]
    checked = zstd.compress(record_lines(3), options={zstd.CompressionParameter.checksum_flag: 1})
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"note"
    return {
        "cut.jsonl.zst": _lines(
            b"".join(blocks[:6]) + blocks[6][:4], (6, "truncated"), records=6, ids=ids(6)
        ),
        "cut-after-the-magic.jsonl.zst": _nothing(packed[:4], "truncated"),
        "garbage-after-the-magic.jsonl.zst": _nothing(packed[:4] + b"\xff" * 64, "corrupt"),
        "garbage-behind.jsonl.zst": _lines(
            packed + b"rust and salt", (40, "corrupt"), records=40, ids=ids(40)
        ),
        "flipped-checksum.jsonl.zst": _nothing(checked[:-1] + bytes([checked[-1] ^ 1]), "corrupt"),
        "two-frames.jsonl.zst": _good(
            zstd.compress(record_line("first")) + skippable + zstd.compress(record_line("second")),
            2,
            ids=("first", "second"),
        ),
        # As pzstd writes it: RFC 8878 allows a skippable frame anywhere, even first.
        "skippable-frame-first.jsonl.zst": _good(skippable + packed, 40, ids=ids(40)),
        "plain-inside.jsonl.zst": _good(record_lines(2), 2, ids=ids(2)),
        "zstd-inside.jsonl": _good(packed, 40, ids=ids(40)),
        "gzip-inside.jsonl.zst": _good(gzip.compress(record_lines(2), mtime=0), 2, ids=ids(2)),
    }


def _parquets() -> dict[str, HostileFile]:
    """Parquet files that are damaged or empty."""
    whole = parquet_bytes(record_table(30))
    groups = parquet_bytes(
        record_table(30), row_group_size=10, compression="snappy", write_page_checksum=False
    )
    return {
        "empty.parquet": _nothing(b"", "empty_file"),
        "only-magic.parquet": _nothing(b"PAR1", "corrupt"),
        "footer-length-flipped.parquet": _nothing(
            whole[:-8] + b"\xff\xff\xff\x7f" + whole[-4:], "corrupt"
        ),
        "footer-flipped.parquet": _nothing(whole[:-40] + b"\xff" * 32 + whole[-8:], "corrupt"),
        "half.parquet": _nothing(whole[: len(whole) // 2], "corrupt"),
        "lines-inside.parquet": _nothing(record_lines(2), "corrupt"),
        "parquet-inside.jsonl": _good(whole, 30, ids=ids(30)),
        "parquet-inside.pdf": _good(whole, 30, ids=ids(30)),
        "second-group-damaged.parquet": HostileFile(
            with_damaged_column(groups, 1, "question"),
            Expected(20, ((10, "corrupt"),), ids(10) + ids(30)[20:]),
        ),
        "every-group-damaged.parquet": HostileFile(
            with_damaged_column(
                with_damaged_column(with_damaged_column(groups, 0, "id"), 1, "id"), 2, "id"
            ),
            Expected(0, ((0, "corrupt"), (10, "corrupt"), (20, "corrupt"))),
        ),
        "zero-rows.parquet": _nothing(parquet_bytes(record_table(1).slice(0, 0)), "empty_file"),
    }


def _parquet_rows() -> dict[str, HostileFile]:
    """Intact Parquet files with invalid rows."""
    objects = [[{"text": text, "source": "a log"} for text in PASSAGES]] * 2
    chats = [[{"role": "user", "content": "Name a lamp."}], None]
    return {
        "numbers-as-questions.parquet": HostileFile(
            parquet_bytes(record_table(2, question=[1, 2])),
            Expected(0, ((0, "wrong_type"), (1, "wrong_type"))),
        ),
        "bytes-as-questions.parquet": HostileFile(
            parquet_bytes(record_table(1, question=[b"why?"])), Expected(0, ((0, "wrong_type"),))
        ),
        "numbers-as-ids.parquet": _good(
            parquet_bytes(record_table(2, id=pa.array([7, 2**64 - 1], pa.uint64()))),
            2,
            ids=("7", "18446744073709551615"),
        ),
        "no-ids.parquet": _good(
            parquet_bytes(record_table(2, id=None)), 2, ids=(f"{PLACE}#0", f"{PLACE}#1")
        ),
        "question-not-utf8.parquet": HostileFile(
            parquet_bytes(
                record_table(3, question=not_utf8_strings([b"Which?", b"O\xf9 ?", b"When?"]))
            ),
            Expected(2, ((1, "not_utf8"),), ("r0", "r2")),
        ),
        "passage-not-utf8.parquet": HostileFile(
            parquet_bytes(
                record_table(
                    3,
                    passages=pa.ListArray.from_arrays(
                        pa.array([0, 1, 2, 3], pa.int32()),
                        not_utf8_strings([b"One.", b"\xff\xfe", b"Three."]),
                    ),
                )
            ),
            Expected(2, ((1, "not_utf8"),), ("r0", "r2")),
        ),
        "passages-as-objects.parquet": _good(
            parquet_bytes(record_table(2, passages=objects)), 2, ids=ids(2)
        ),
        "passages-as-strings.parquet": _good(parquet_bytes(record_table(2)), 2, ids=ids(2)),
        "passages-as-one-string.parquet": HostileFile(
            parquet_bytes(record_table(1, passages=["Only one."])),
            Expected(1, (), ("r0",)),
        ),
        "nulls.parquet": HostileFile(
            parquet_bytes(
                record_table(
                    4,
                    question=["Which?", None, "", "When?"],
                    passages=[PASSAGES, PASSAGES, PASSAGES, None],
                )
            ),
            Expected(
                1, ((1, "missing_field"), (2, "missing_field"), (3, "missing_field")), ("r0",)
            ),
        ),
        "chats.parquet": HostileFile(
            parquet_bytes(record_table(2, question=None, passages=None, messages=chats)),
            Expected(1, ((1, "missing_field"),), ("r0",)),
        ),
        # A date that Python cannot represent must not lose the record or stop the job.
        "date-past-the-calendar.parquet": _good(
            parquet_bytes(record_table(2, printed=pa.array([0, 10_000_000], pa.date32()))),
            2,
            ids=ids(2),
        ),
        "duration-past-the-clock.parquet": _good(
            parquet_bytes(record_table(2, took=pa.array([0, 2**62], pa.duration("s")))),
            2,
            ids=ids(2),
        ),
    }


def csv_row(*cells: str, sign: str = ",") -> bytes:
    """A row as a careful writer makes it, with its end."""
    sink = io.StringIO()
    csv.writer(sink, delimiter=sign).writerow(cells)
    return sink.getvalue().encode()


def csv_rows(count: int, sign: str = ",") -> bytes:
    """A table of valid records; `ids(count)` are theirs."""
    rows = ((i, f"{QUESTION} Night {i}.", json.dumps(PASSAGES)) for i in ids(count))
    return CSV_HEADER.replace(b",", sign.encode()) + b"".join(csv_row(*r, sign=sign) for r in rows)


CSV_HEADER = b"id,question,passages\r\n"


def _tables() -> dict[str, HostileFile]:
    three = csv_rows(3)
    quoted = csv_row("q\n1", 'Which "lamp",\nand when?', "One page,\r\n\r\nand\tanother.")
    return {
        "table.csv": _good(three, 3, ids=ids(3)),
        "table.tsv": _good(csv_rows(3, "\t"), 3, ids=ids(3)),
        "tabs-in-a.csv": _good(csv_rows(3, "\t"), 3, ids=ids(3)),
        "semicolons.csv": _good(csv_rows(3, ";"), 3, ids=ids(3)),
        "bom.csv": _good(b"\xef\xbb\xbf" + three, 3, ids=ids(3)),
        "bom-and-quotes.csv": _good(b'\xef\xbb\xbf"id",question,passages\na,b,c\n', 1, ids=("a",)),
        "unix-lines.csv": _good(three.replace(b"\r\n", b"\n"), 3, ids=ids(3)),
        "no-last-newline.csv": _good(three.rstrip(), 3, ids=ids(3)),
        "quotes-commas-newlines.csv": _good(CSV_HEADER + quoted, 1, ids=("q\n1",)),
        "blank-lines.csv": _good(
            b"\n\n" + three.replace(b"\r\n", b"\r\n\r\n ,, \r\n"), 3, ids=ids(3)
        ),
        "extra-commas.csv": _good(CSV_HEADER + b"a,b,c,,\n", 1, ids=("a",)),
        "unnamed-columns.csv": _good(b",id,question,passages,\n0,a,b,c,\n", 1, ids=("a",)),
        "inches.csv": _good(CSV_HEADER + b'a,A 5" lamp?,It is 5" wide\nb,c,d\n', 2, ids=("a", "b")),
        "nul.csv": _good(CSV_HEADER + b"a,b\0,c\n", 1, ids=("a",)),
        "mojibake.csv": _good(
            CSV_HEADER + "m,Is the keeper’s lamp lit?,c\n".encode().decode("mac_roman").encode(),
            1,
            repairs=("mac_roman",),
        ),
        "only-a-header.csv": _nothing(CSV_HEADER, "empty_file"),
        "empty.csv": _nothing(b"", "empty_file"),
        "blank.tsv": _nothing(b"\n \n", "empty_file"),
    }


def _broken_tables() -> dict[str, HostileFile]:
    def between(bad: bytes, *rejects: tuple[int, RejectReason], after: int = 2) -> HostileFile:
        """Broken lines behind one valid row and before others, which have quotes."""
        rows = csv_rows(1 + after).splitlines(keepends=True)
        data = b"".join([*rows[:2], bad, *rows[2:]])
        return _lines(data, *rejects, records=1 + after, ids=ids(1 + after))

    plain = b"".join(b"p%d,Which lamp?,Amber.\n" % i for i in range(4))
    plain_ids = tuple(f"p{i}" for i in range(4))
    return {
        "too-few-cells.csv": between(b"x,Which lamp?\n", (2, "invalid_csv")),
        "too-many-cells.csv": between(b"x,Which, lamp?,Amber.\n", (2, "invalid_csv")),
        "torn-by-a-newline.csv": between(
            b"x,Which\nlamp?,Amber.\n", (2, "invalid_csv"), (3, "invalid_csv")
        ),
        "text-behind-quotes.csv": between(b'x,"Which" lamp?,Amber.\n', (2, "invalid_csv")),
        "quote-not-closed.csv": between(b'x,"Which lamp?,Amber.\n', (2, "invalid_csv")),
        "quote-not-closed-before-plain-rows.csv": _lines(
            CSV_HEADER + b'x,"Which lamp?,Amber.\n' + plain,
            (1, "invalid_csv"),
            records=4,
            ids=plain_ids,
        ),
        "quote-not-closed-before-many-rows.csv": HostileFile(
            CSV_HEADER + b'x,"Which lamp?,Amber.\n' + plain * 4000,
            Expected(16_000, ((1, "too_large"),)),
        ),
        "quote-not-closed-at-the-end.csv": _lines(
            csv_rows(2) + b'x,"Which lamp?\nAmber.\n', (3, "invalid_csv"), records=2, ids=ids(2)
        ),
        "latin1-row.csv": between("x,Où?,Là.\n".encode("latin-1"), (2, "not_utf8")),
        "latin1-header.csv": _nothing("id,numéro\nx,1\n".encode("latin-1"), "not_utf8"),
        "utf16.csv": _nothing(csv_rows(2).decode().encode("utf-16"), "not_utf8"),
        "two-columns-of-one-name.csv": _nothing(b"id,question,id\na,b,c\n", "invalid_csv"),
        "carriage-returns.csv": _nothing(csv_rows(3).replace(b"\r\n", b"\r"), "invalid_csv"),
        "broken-header.csv": _nothing(b'id,"question"s,passages\na,b,c\n', "invalid_csv"),
        "no-question.csv": _lines(
            CSV_HEADER + b"a,,c\nb,q,\nc,q,p\n",
            (1, "missing_field"),
            (2, "missing_field"),
            records=1,
            ids=("c",),
        ),
        "row-over-the-limit.csv": between(
            csv_row("x", "Which?", "drizzle " * (MAX_RECORD_BYTES // 8)), (2, "too_large")
        ),
        "rows-within-a-row-over-the-limit.csv": between(
            csv_row("x", "Which?", 'a "page",\n\nz,Injected?,Yes.\n' * (MAX_RECORD_BYTES // 10)),
            (2, "too_large"),
        ),
        "json-passages.csv": _lines(
            CSV_HEADER
            + csv_row("a", "q", '[{"text": "One.", "source": "p. 1"}, "Two."]')
            + csv_row("b", "q", "[1] is a citation")
            + csv_row("c", "q", "[1, 2]")
            + csv_row("d", "q", '[{"source": "p. 1"}]'),
            (4, "missing_field"),
            records=3,
            ids=("a", "b", "c"),
        ),
    }


def _packed_tables() -> dict[str, HostileFile]:
    data = csv_rows(3)
    stored = gzip.compress(data, compresslevel=0, mtime=0)
    array = b"[" + b",".join(record_lines(3).splitlines()) + b"]"
    bomb = gzip.compress(b"[" + b" " * 2 * 64 * 2**20, mtime=0)
    return {
        "packed.csv.gz": _good(gzip.compress(data, mtime=0), 3, ids=ids(3)),
        "packed.tsv.zst": _good(zstd.compress(csv_rows(3, "\t")), 3, ids=ids(3)),
        "packed.json.gz": _good(gzip.compress(array, mtime=0), 3, ids=ids(3)),
        "packed.json.zst": _good(zstd.compress(record_lines(3)), 3, ids=ids(3)),
        "cut.csv.gz": HostileFile(stored[:-60], Expected(2, ((3, "truncated"),), ids(2))),
        "damaged.csv.gz": HostileFile(
            stored[: len(stored) // 2] + b"\xff" * 200,
            Expected(1, ((2, "truncated"),), ids(1)),
        ),
        "bomb.csv.gz": _nothing(
            gzip.compress(b"id,question," + b"a" * 2 * 64 * 2**20, mtime=0), "too_large"
        ),
        "bomb.json.gz": HostileFile(bomb, Expected(0, ((0, "too_large"),))),
    }


def _arrays() -> dict[str, HostileFile]:
    def array(*items: bytes) -> bytes:
        return b"[" + b", ".join(item.strip() for item in items) + b"]\n"

    def between(bad: bytes, reason: RejectReason) -> HostileFile:
        """One bad element between two valid ones."""
        data = array(record_line("before"), bad, record_line("after"))
        return _lines(data, (1, reason), records=2, ids=("before", "after"))

    lines = record_lines(3).splitlines()
    whole = array(*lines)
    pretty = json.dumps(json.loads(whole), indent=2).encode()
    deep = b"[" * 100_000 + b"]" * 100_000
    tricky = record_line("t", question='What is "]}, {" for? \\', note=["[", "}", '\\"'])
    return {
        "array.json": _good(whole, 3, ids=ids(3)),
        "pretty-array.json": _good(b"\xef\xbb\xbf\n" + pretty, 3, ids=ids(3)),
        "lines.json": _good(record_lines(3), 3, ids=ids(3)),
        "one-line.json": _good(record_line("r0"), 1, ids=("r0",)),
        "brackets-in-strings.json": _good(array(tricky, *lines), 4, ids=("t", *ids(3))),
        "empty-array.json": _nothing(b" [ \n ] ", "empty_file"),
        "array-in-an-object.json": _nothing(
            json.dumps({"data": json.loads(whole)}, indent=1).encode(), "invalid_json"
        ),
        "latin1-element.json": between(record_line("s").replace(b"lamp", b"l\xe4mp"), "not_utf8"),
        "element-kinds.json": _lines(
            array(b"1", b'"a"', b"null", b"[1, [2]]", b"{}", lines[0]),
            *((row, "wrong_type") for row in range(4)),
            (4, "missing_field"),
            records=1,
            ids=ids(1),
        ),
        "commas.json": _lines(
            b"[," + lines[0] + b",,]",
            (0, "invalid_json"),
            (2, "invalid_json"),
            (3, "invalid_json"),
            records=1,
            ids=ids(1),
        ),
        "bad-element.json": between(b'{"id": nothing}', "invalid_json"),
        "deep-element.json": between(deep, "invalid_json"),
        "nan.json": between(record_line("n", score=float("nan")), "invalid_json"),
        "surrogate.json": between(
            record_line("s", question="HALF").replace(b"HALF", rb"half \ud800"), "invalid_json"
        ),
        "element-over-the-limit.json": between(
            record_line("x", passages=["drizzle, [" * (MAX_RECORD_BYTES // 8)]), "too_large"
        ),
        "cut-array.json": _lines(whole[:-40], (2, "invalid_json"), records=2, ids=ids(2)),
        "array-not-closed.json": _lines(
            b"[" + b",".join(lines), (2, "invalid_json"), records=2, ids=ids(2)
        ),
        "two-arrays.json": _lines(whole + whole, (3, "invalid_json"), records=3, ids=ids(3)),
        "bracket-too-many.json": _lines(
            array(lines[0] + b"}", *lines[1:]), (0, "invalid_json"), records=2, ids=("r1", "r2")
        ),
    }


def _strangers() -> dict[str, HostileFile]:
    return {
        "scan.pdf": _nothing(b"%PDF-1.7\n" + bytes(range(256)) * 400, "unknown_kind"),
        "no-ending": _nothing(record_line("r0"), "unknown_kind"),
        "archive.tar.gz": _nothing(gzip.compress(bytes(1024), mtime=0), "unknown_kind"),
        "ending-only-compressed.gz": _nothing(
            gzip.compress(record_line("r0"), mtime=0), "unknown_kind"
        ),
    }


def _text(text: str, name: str, codec: str = "utf-8", **expected: Any) -> HostileFile:
    return _good(text.encode(codec), 1, ids=(name,), **expected)


def _texts() -> dict[str, HostileFile]:
    """Text files that contain a record, although they look odd."""
    g = TextGrammar()
    curly = text_file(context="The keeper’s log — “amber, always” — names Zoë’s lamp.")
    plain = text_file(context="The keeper’s log — amber, always — names Zoë’s lamp.")
    half = f"A form reads:\n\n{g.before_instructions}fill it in{g.before_question}and so on"
    closing = f"A torn page:{g.after_question} nothing"
    invented = text_file(question="Which bell do they ring?").removeprefix(g.preamble)
    odd = "night [draft] *final* 100% {a,b}?_CQ3"
    files = {
        "bom_CQ1": _text("\ufeff" + text_file(), "bom_CQ1"),
        "crlf_CQ1": _text(text_file().replace("\n", "\r\n"), "crlf_CQ1", repairs=("crlf",)),
        "half-a-block-first_CQ1": _text(text_file(context=half), "half-a-block-first_CQ1"),
        "closing-part-first_CQ1": _text(text_file(context=closing), "closing-part-first_CQ1"),
        "second-block-in-the-answer_CQ1": _text(
            text_file(answer=" The amber one." + invented), "second-block-in-the-answer_CQ1"
        ),
        "control-signs_CQ1": _text(
            text_file(context="NUL \0 feed \f return \r bell \x07 (cid:12)"), "control-signs_CQ1"
        ),
        "empty-context_CQ1": _text(text_file(context=""), "empty-context_CQ1"),
        "no-context-at-all_CQ1": _text(
            text_file(context="").replace("\n\n\n\n", "\n\n", 1), "no-context-at-all_CQ1"
        ),
        "empty-answer_CQ1": _text(text_file(answer=""), "empty-answer_CQ1"),
        "mojibake-mac-roman_CQ1": _text(
            curly.encode().decode("mac_roman"), "mojibake-mac-roman_CQ1", repairs=("mac_roman",)
        ),
        "mojibake-cp1252_CQ1": _text(
            plain.encode().decode("cp1252"),
            "mojibake-cp1252_CQ1",
            repairs=("sloppy-windows-1252",),
        ),
        odd: _text(text_file(), odd),
        "without_a_question_number": _text(text_file(), "without_a_question_number"),
    }
    return {f"{name}.txt": file for name, file in files.items()} | {
        "packed_CQ1.txt.gz": _good(
            gzip.compress(text_file().encode(), mtime=0), 1, ids=("packed_CQ1",)
        ),
        "packed_CQ2.txt.zst": _good(zstd.compress(text_file().encode()), 1, ids=("packed_CQ2",)),
    }


def _texts_without_grammar() -> dict[str, HostileFile]:
    g = TextGrammar()
    whole = text_file()
    before_block, _, _ = whole.partition(g.before_instructions)
    before_closing, _, _ = whole.partition(g.after_question)
    return {
        "empty.txt": _nothing(b"", "empty_file"),
        "blank.txt": _nothing(b"\n \n", "unparsable_text"),
        "not-utf8_CQ1.txt": _nothing(
            text_file(context="Où brûle la lampe").encode("latin-1"), "not_utf8"
        ),
        "utf16_CQ1.txt": _nothing(whole.encode("utf-16"), "not_utf8"),
        "no-preamble_CQ1.txt": _nothing(whole.removeprefix(g.preamble).encode(), "unparsable_text"),
        "no-question-block_CQ1.txt": _nothing(before_block.encode(), "unparsable_text"),
        "block-cut_CQ1.txt": _nothing(before_closing.encode(), "unparsable_text"),
        "only-the-closing-part_CQ1.txt": _nothing(
            f"{g.preamble}\n\nA page.{g.after_question} amber".encode(), "unparsable_text"
        ),
        "over-the-limit_CQ1.txt": _nothing(
            text_file(context="drizzle " * (MAX_RECORD_BYTES // 8)).encode(), "too_large"
        ),
        "cut_CQ1.txt.gz": _nothing(
            gzip.compress(whole.encode(), compresslevel=0, mtime=0)[:200], "truncated"
        ),
    }
