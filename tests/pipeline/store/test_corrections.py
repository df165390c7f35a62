"""Corrections in the store: parts that only grow, whole or not at all, each correction once."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import StorageError
from pipeline.core.filesystem import Location, Storage
from pipeline.store.corrections import add_corrections, answer_sha256, read_corrections
from tests.conftest import S3_KEY, S3_SECRET
from tests.support.corrections import correction
from tests.support.jobs import S3


@pytest.fixture
def store(tmp_path) -> Location:
    return Storage().at(str(tmp_path / "store"))


def parts(store: Location) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in Path(store.path, "corrections").glob("part-*")}


def test_what_is_added_is_read_in_order_of_time(store):
    late, early = correction("a", minutes=2), correction("b", minutes=1, note="two\nlines, “q”")
    assert add_corrections(store, [late, early]) == [late, early]
    assert read_corrections(store) == [early, late]


def test_a_store_without_corrections_has_none(store):
    assert read_corrections(store) == []
    assert add_corrections(store, []) == []
    assert parts(store) == {}


def test_what_is_known_is_not_added_again_and_no_part_changes(store):
    add_corrections(store, [correction("a")])
    before = parts(store)
    assert add_corrections(store, [correction("a"), correction("a")]) == []
    assert parts(store) == before
    assert add_corrections(store, [correction("a"), correction("b")]) == [correction("b")]
    assert before.items() < parts(store).items()


def test_two_processes_that_add_the_same_write_the_same_part(tmp_path):
    one, other = (Storage().at(str(tmp_path / name)) for name in "ab")
    add_corrections(one, [correction("a"), correction("b")])
    add_corrections(other, [correction("b"), correction("a")])
    assert parts(one).keys() == parts(other).keys()


def test_a_correction_that_stands_in_two_parts_counts_once(store):
    add_corrections(store, [correction("a")])
    (name, content), folder = *parts(store).items(), Path(store.path, "corrections")
    (folder / f"{name.removesuffix('.parquet')}-2.parquet").write_bytes(content)
    assert read_corrections(store) == [correction("a")]


def test_a_draft_of_a_killed_process_is_no_part(store):
    add_corrections(store, [correction("a")])
    Path(store.path, "corrections", ".part-x.parquet.1234.tmp").write_bytes(b"half")
    assert read_corrections(store) == [correction("a")]


def test_a_damaged_part_is_an_error_and_no_empty_folder(store):
    add_corrections(store, [correction("a")])
    (name,) = parts(store)
    Path(store.path, "corrections", name).write_bytes(b"PAR1 damaged")
    with pytest.raises(StorageError, match=name):
        read_corrections(store)


def test_any_parquet_reader_can_read_them(store):
    add_corrections(store, [correction("a", note="why")])
    rows = pq.read_table(Path(store.path, "corrections"))
    assert rows.column_names == [
        "record_id",
        "generation_key",
        "answer_sha256",
        "field",
        "value",
        "annotator",
        "at",
        "note",
    ]
    assert rows.to_pylist()[0]["note"] == "why"


def test_the_digest_is_that_of_the_text_in_utf8():
    assert answer_sha256("Zehn Störche") == answer_sha256("Zehn St\u00f6rche")
    assert answer_sha256("abc").startswith("ba7816bf8f01cfea")
    assert answer_sha256(None) == answer_sha256("")


@pytest.mark.parametrize("append_only", [False, True])
def test_corrections_are_kept_in_an_object_store(moto_s3: S3, append_only):
    storage = Storage({"key": S3_KEY, "secret": S3_SECRET, **moto_s3.storage()})
    store = storage.at(f"s3://people/{append_only}")
    store.fs.makedirs("people", exist_ok=True)
    assert add_corrections(store, [correction("a")], append_only) == [correction("a")]
    assert add_corrections(store, [correction("a")], append_only) == []
    assert read_corrections(store) == [correction("a")]
