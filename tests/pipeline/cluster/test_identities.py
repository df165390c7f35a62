"""Which ids stand for different content, against the same found with plain dictionaries."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cluster.identities import Identities
from pipeline.core.identity import as_identities, as_rows, content_of, identity
from pipeline.core.own_id import own_id
from pipeline.core.records import Place
from tests.support.jobs import record

Met = tuple[str, str, int]
"""An id, a content and the row of a record."""

met = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.integers(0, 9)))
tables_of = st.lists(met, max_size=6)


def without_clashes(tables: list[list[Met]]) -> list[list[Met]]:
    """One record a place, whatever task reads it and however often."""
    at = {row: (id_, content, row) for table in tables for id_, content, row in table}
    return [[at[row] for _, _, row in table] for table in tables]


def index_of(tables: list[list[Met]]) -> Identities:
    index = Identities()
    for table in tables:
        index.add(b"".join(identity(id_, said.encode(), 0, row) for id_, said, row in table))
    return index


@given(tables_of.map(without_clashes))
def test_ids_of_different_content_and_copies_are_found_in_any_order(tables: list[list[Met]]):
    every = {one for table in tables for one in table}
    contents: dict[str, set[str]] = {}
    places: dict[tuple[str, str], set[int]] = {}
    for id_, content, row in every:
        contents.setdefault(id_, set()).add(content)
        places.setdefault((id_, content), set()).add(row)
    copies = sorted(row for rows in places.values() for row in sorted(rows)[1:])
    shared = [id_ for id_, different in contents.items() if len(different) > 1]
    found = index_of(tables)
    assert found.conflicts().copies.tolist() == copies
    assert len(found.conflicts().shared) == len(shared)
    summary = found.summary()
    assert (summary["shared"], summary["identical"]) == (len(shared), len(copies))
    assert summary["records"] == sum(len(contents[id_]) for id_ in shared)


@given(st.lists(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), min_size=1), max_size=8))
def test_an_id_goes_to_the_first_content_that_asks(tables: list[list[tuple[int, int]]]):
    index, holders = Identities(), dict[int, int]()
    for table in tables:
        expected = [holders.setdefault(id_, content) == content for id_, content in table]
        ids, contents = np.array(table, np.uint64).T
        assert index.claim(ids, contents).tolist() == expected


def test_a_task_that_is_done_twice_makes_no_copies():
    table = [("a", "x", 0), ("b", "x", 1)]
    assert index_of([table, table]).summary()["identical"] == 0


def test_what_a_record_says_tells_it_apart_and_not_where_or_how_it_was_written():
    one = record(1, extra={"year": 2020})
    assert content_of(one) == content_of(
        record(1, place=Place("s3://b/x", 7), extra={"year": 2020})
    )
    assert content_of(one) == content_of(record(1, repairs=("crlf",), extra={"year": 2020}))
    others = [
        record(1, extra={"year": 2021}),
        record(1, extra={"year": 2020}, paper_id=None),
        record(1, extra={"year": 2020}, recorded_answer="Three."),
        record(2, extra={"year": 2020}),
    ]
    assert len({content_of(r) for r in (one, *others)}) == 5


def test_identities_survive_their_column():
    rows = as_rows(identity("a", b"x", 3, 4) + identity("b", b"y", 5, 6))
    assert as_rows(b"".join(as_identities(rows).to_pylist())).tolist() == rows.tolist()


def test_an_own_id_is_the_same_on_every_machine():
    assert own_id("7", Place("s3://bucket/2023/part-0.jsonl", 7)) == "7@0050b6a9"
