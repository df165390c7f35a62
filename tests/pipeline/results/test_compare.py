from datetime import UTC, datetime

import pyarrow as pa
import pytest

from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import Location, Storage
from pipeline.results.compare import compare, find_sides, kind_of_change, similarity
from pipeline.store.compaction import compact
from tests.pipeline.store.test_store import outcomes, sink

NOW = datetime(2026, 11, 24, tzinfo=UTC)
LONG = "The herons nested on the northern shore from early spring until the ice came back"


def column(table, name, value):
    at = table.schema.get_field_index(name)
    return table.set_column(at, name, [[value] * table.num_rows])


@pytest.fixture
def store(tmp_path) -> Location:
    """Five records under two versions of a prompt, and a sixth under the second only."""
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


def test_answers_that_differ_in_substance_are_told_from_those_that_differ_in_wording(store):
    comparison = compare(store, *find_sides(store, "trial@1", "2"))
    assert {pair.record_id: pair.change_kind for pair in comparison.pairs} == {
        "same": "same",
        "words": "wording",
        "number": "substance",
        "denied": "substance",
        "broken": "wording",
    }
    assert (comparison.only_before, len(comparison.only_after)) == ([], 1)


def test_transitions_checks_and_sums_are_counted(store):
    comparison = compare(store, *find_sides(store, "run-1", "run-2"))
    assert comparison.transitions("status") == {
        ("answered", "answered"): 4,
        ("failed", "answered"): 1,
    }
    assert comparison.check_changes() == {"complete": (1, 0)}
    words = len(LONG.split())
    assert comparison.sums("word_count") == (4 + 3 * words + 3 + 5, 4 + 3 * words + 2 + 3 + 2 + 6)


def test_the_largest_changes_come_first_and_changes_of_wording_are_left_out(store):
    comparison = compare(store, *find_sides(store, "1", "2"))
    first, *others = [pair.record_id for pair in comparison.largest_changes()]
    assert first == "broken"
    assert set(others) == {"number", "denied"}


def test_a_compacted_store_compares_the_same(store):
    compact(store, NOW)
    comparison = compare(store, *find_sides(store, "1", "2"))
    assert len(comparison.pairs) == 5


def test_an_unknown_or_ambiguous_side_is_an_error(store):
    with pytest.raises(ConfigError, match=r"'trail@1': no run.*did you mean 'trial@1'"):
        find_sides(store, "trail@1")
    other = column(outcomes(("same", "k3", "Yes.")), "prompt_name", "other")
    sink(store, "run-3").write(column(other, "prompt_version", "2"))
    with pytest.raises(ConfigError, match=r"'2' is ambiguous"):
        find_sides(store, "2")


def test_a_model_and_the_same_with_an_adapter_are_two_sides(store):
    adapted = column(outcomes(("same", "k4", "There were 3 terns.")), "model", "m")
    sink(store, "run-4").write(column(adapted, "adapter", "cautious"))
    comparison = compare(store, *find_sides(store, "m", "cautious"))
    assert [pair.record_id for pair in comparison.pairs] == ["same"]
    assert (len(comparison.only_before), comparison.only_after) == (5, [])
    both = find_sides(store, "m@None", "cautious@None")
    assert [pair.record_id for pair in compare(store, *both).pairs] == ["same"]


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
def test_numbers_negations_and_content_words_tell_wording_from_substance(before, after, expected):
    assert kind_of_change(before, after) == expected


def test_similarity_ignores_word_forms():
    assert similarity("Herons nested.", "A heron was nesting.") == 1.0
    assert similarity("Herons.", "Storks.") == 0.0


def test_a_pair_has_the_columns_of_its_later_side_or_else_of_the_other(tmp_path):
    store = Storage().at(str(tmp_path / "store"))
    sides = {"1": (None, '{"doi":"old"}', '{"doi":"old"}'), "2": (None, None, '{"doi":"new"}')}
    for version, extras in sides.items():
        table = outcomes(*((f"r{n}", f"k{version}", "Yes.") for n in range(3)))
        at = table.schema.get_field_index("extra")
        table = table.set_column(at, table.schema.field("extra"), pa.array(extras, pa.string()))
        named = column(column(table, "prompt_name", "trial"), "prompt_version", version)
        sink(store, f"run-{version}").write(column(named, "model", "m"))
    pairs = compare(store, *find_sides(store, "1", "2")).pairs
    assert {pair.record_id: pair.carried["extra"] for pair in pairs} == {
        "r0": None,
        "r1": '{"doi":"old"}',
        "r2": '{"doi":"new"}',
    }
