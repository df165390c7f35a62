from datetime import UTC, datetime

import pytest

from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import Location, Storage
from pipeline.results.compare import compare, extent, find_sides, likeness
from pipeline.store.compaction import compact
from tests.pipeline.store.test_store import outcomes, sink

NOW = datetime(2026, 11, 24, tzinfo=UTC)
LONG = "The herons nested on the northern shore from early spring until the ice came back"


def column(table, name, value):
    at = table.schema.get_field_index(name)
    return table.set_column(at, name, [[value] * table.num_rows])


@pytest.fixture
def store(tmp_path) -> Location:
    """Five records under two versions of a prompt; a sixth that only the second has."""
    location = Storage().at(str(tmp_path / "store"))
    old = outcomes(
        ("same", "k1", "There were 3 herons."),
        ("words", "k1", f"{LONG}."),
        ("number", "k1", f"{LONG}, 12 of them."),
        ("denied", "k1", f"{LONG}."),
        ("broken", "k1", "They were seen at the"),
    )
    new = outcomes(
        ("same", "k2", "There were 3 herons."),
        ("words", "k2", f"In fact {LONG[0].lower()}{LONG[1:]}."),
        ("number", "k2", f"{LONG}, 15 of them."),
        ("denied", "k2", f"{LONG.replace('nested', 'did not nest')}."),
        ("broken", "k2", "They were seen at the pond."),
        ("new", "k2", "Yes."),
    )
    for version, table in (("1", old), ("2", new)):
        named = column(column(table, "prompt_name", "trial"), "prompt_version", version)
        sink(location, f"run-{version}").write(column(named, "model", "m"))
    return location


def test_answers_that_say_something_else_stand_apart_from_other_wording(store):
    found = compare(store, *find_sides(store, "trial@1", "2"))
    assert {pair.record_id: pair.extent for pair in found.pairs} == {
        "same": "same",
        "words": "wording",
        "number": "substance",
        "denied": "substance",
        "broken": "wording",
    }
    assert (found.only_before, len(found.only_after)) == ([], 1)


def test_transitions_checks_and_sums_are_counted(store):
    found = compare(store, *find_sides(store, "run-1", "run-2"))
    assert found.transitions("status") == {
        ("answered", "answered"): 4,
        ("failed", "answered"): 1,
    }
    assert found.checks() == {"complete": (1, 0)}
    words = len(LONG.split())
    assert found.sums("word_count") == (4 + 3 * words + 3 + 5, 4 + 3 * words + 2 + 3 + 2 + 6)


def test_the_largest_changes_come_first_and_mere_wording_not_at_all(store):
    found = compare(store, *find_sides(store, "1", "2"))
    assert found.largest()[0].record_id == "broken"
    assert {pair.record_id for pair in found.largest()} == {"broken", "number", "denied"}


def test_a_compacted_store_compares_the_same(store):
    compact(store, NOW)
    found = compare(store, *find_sides(store, "1", "2"))
    assert len(found.pairs) == 5


def test_a_word_that_means_nothing_or_too_much_is_refused(store):
    with pytest.raises(ConfigError, match=r"'trail@1': no run.*did you mean 'trial@1'"):
        find_sides(store, "trail@1")
    other = column(outcomes(("same", "k3", "Yes.")), "prompt_name", "other")
    sink(store, "run-3").write(column(other, "prompt_version", "2"))
    with pytest.raises(ConfigError, match=r"'2' means several things"):
        find_sides(store, "2")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("", "", "same"),
        ("", "Three herons nested.", "substance"),
        ("Three herons nested there.", "There, three herons nested.", "wording"),
        ("It rose by 3.5%.", "It rose by 3.6%.", "substance"),
        ("It rose by 3 %, then 4 %.", "It rose by 4 %, then 3 %.", "wording"),
        ("The effect was found.", "The effect was not found.", "substance"),
        ("The effect wasn't found.", "The effect was not found.", "wording"),
        ("Herons eat fish.", "Storks prefer frogs and insects.", "substance"),
    ],
)
def test_substance_is_told_from_wording_by_numbers_negations_and_content(before, after, expected):
    assert extent(before, after) == expected


def test_likeness_knows_word_forms():
    assert likeness("Herons nested.", "A heron was nesting.") == 1.0
    assert likeness("Herons.", "Storks.") == 0.0
