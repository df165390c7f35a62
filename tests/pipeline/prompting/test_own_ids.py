"""One id for different content: nothing is lost, nothing is generated twice, all of it is said."""

import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.answering.prepare import prepare
from pipeline.cluster.ray_data import RayData
from pipeline.config.schema import Job, Output, TextGrammar
from pipeline.core.filesystem import Storage
from pipeline.core.own_id import lines_about
from pipeline.runs.plan import make_plan
from pipeline.store.reader import BY_RECORD, read_rows
from tests.support.jobs import counts, ignore, job, plan, run, run_on_cluster, write_jsonl

GRAMMAR = TextGrammar()

TEMPLATE = """---
name: lamps
version: 1
---
{% for p in passages %}
{{ p.text }}

{% endfor %}
{{ question }}
"""


class Given(NamedTuple):
    """A record of an input; `note` reaches no prompt."""

    record_id: str
    lamp: str
    paper: str | None = None
    note: str = "-"

    @property
    def question(self) -> str:
        return f"Who lights the {self.lamp} lamp?"

    def row(self) -> dict[str, Any]:
        passages = [f"The keeper lights the {self.lamp} lamp at dusk."]
        row = {"id": self.record_id, "question": self.question, "passages": passages}
        return row | {"paper_id": self.paper, "note": self.note}

    def text(self) -> str:
        return (
            f"{GRAMMAR.preamble}\n\nThe keeper lights the {self.lamp} lamp at dusk.\n\n"
            f"{GRAMMAR.before_instructions}Read.{GRAMMAR.before_question}{self.question}"
            f"{GRAMMAR.after_question} The keeper."
        )


class Folder(NamedTuple):
    """A folder of an input: rows of a JSONL and of a Parquet shard, and text files by name."""

    lines: tuple[Given, ...] = ()
    rows: tuple[Given, ...] = ()
    texts: tuple[Given, ...] = ()

    def write(self, path: Path) -> None:
        if self.lines:
            write_jsonl(path / "part-0.jsonl", [one.row() for one in self.lines])
        path.mkdir(parents=True, exist_ok=True)
        if self.rows:
            pq.write_table(pa.Table.from_pylist([o.row() for o in self.rows]), path / "p.parquet")
        for one in self.texts:
            (path / f"{one.record_id}.txt").write_text(one.text())

    def distinct(self) -> set[tuple[str, Given]]:
        """What tells its records apart; a text record says more than a row of the same lamp."""
        texts = {("text", one) for one in {t.record_id: t for t in self.texts}.values()}
        return {("row", one) for one in (*self.lines, *self.rows)} | texts


def distinct_in(folders: Iterable[Folder]) -> set[tuple[str, Given]]:
    return set().union(*(folder.distinct() for folder in folders))


def lamps_job(folder: Path, **sections: Any) -> Job:
    (folder / "lamps.md").write_text(TEMPLATE)
    return job(folder / "in", folder / "store", prompt=str(folder / "lamps.md"), **sections)


def write_input(folder: Path, folders: Mapping[str, Folder]) -> None:
    shutil.rmtree(folder / "in", ignore_errors=True)
    for name, one in folders.items():
        one.write(folder / "in" / name)


def stored_questions(task: Job) -> Counter[tuple[str, str]]:
    """How many records of each id that a user gave have an answer to each question."""
    tables = read_rows(Storage().at(task.output.uri), BY_RECORD)
    return Counter(
        (row["record_id"].split("@")[0], row["question"]) for t in tables for row in t.to_pylist()
    )


records = st.tuples(
    st.sampled_from(["0", "1", "ridge_CQ1"]),
    st.sampled_from(["red", "green", "blue"]),
    st.sampled_from([None, "0", "ridge"]),
    st.sampled_from(["-", "-", "-", "windy"]),
).map(lambda four: Given(*four))
some = st.lists(records, max_size=4).map(tuple)
text_records = st.tuples(st.sampled_from(["ridge_CQ1", "0"]), st.sampled_from(["red", "blue"]))
texts = st.lists(text_records.map(lambda two: Given(*two)), max_size=2).map(tuple)
folders_of = st.dictionaries(
    st.sampled_from(["2022", "2023", "2024"]), st.builds(Folder, some, some, texts), min_size=1
).filter(lambda folders: all(folder.distinct() for folder in folders.values()))


@st.composite
def subsets(draw: st.DrawFn) -> list[dict[str, Folder]]:
    """Inputs of some of the same folders, the last time in another place."""
    folders = draw(folders_of)
    names = st.sets(st.sampled_from(sorted(folders)), min_size=1)
    inputs = [
        {n: folders[n] for n in sorted(chosen)} for chosen in draw(st.lists(names, max_size=2))
    ]
    return [*inputs, folders, {f"moved/{name}": folder for name, folder in folders.items()}]


def planned_and_run(task: Job, distinct: set[tuple[str, Given]]) -> dict[str, int]:
    """The counts of a run, which are those of its plan; the next one finds nothing to do."""
    planned, document = plan(task), run(task)
    done = counts(document)
    expected = {
        "read": planned.totals.read,
        "current": planned.totals.states["current"],
        "answered": planned.totals.standings["work"],
    }
    assert done == {state: n for state, n in expected.items() if n}
    assert document["ids"]["identical"] == planned.totals.standings["identical"]
    assert done["read"] == len(distinct)
    next_finds_all(task, distinct)
    return done


def next_finds_all(task: Job, distinct: set[tuple[str, Given]]) -> None:
    assert counts(run(task))["current"] == len(distinct)
    wanted = Counter((one.record_id, one.question) for _, one in distinct)
    assert wanted <= stored_questions(task)


def folder_settings(examples: int) -> settings:
    slow = [HealthCheck.too_slow]
    return settings(max_examples=examples, deadline=None, suppress_health_check=slow)


@folder_settings(20)
@given(inputs=subsets())
def test_folders_that_come_go_and_move_cost_only_the_answers_that_no_run_has_given(
    tmp_path_factory, inputs: list[dict[str, Folder]]
):
    folder = tmp_path_factory.mktemp("own-ids")
    task = lamps_job(folder)
    given: Counter[tuple[str, str]] = Counter()  # answers to a prompt, under the id of its record
    for folders in inputs:
        write_input(folder, folders)
        distinct = distinct_in(folders.values())
        wanted = Counter((one.record_id, one.question) for _, one in distinct)
        answered = planned_and_run(task, distinct).get("answered", 0)
        assert answered <= (wanted - given).total()
        given |= wanted


@folder_settings(20)
@given(inputs=st.lists(folders_of, min_size=2, max_size=2))
def test_whatever_ids_collide_and_change_no_answer_is_lost(
    tmp_path_factory, inputs: list[dict[str, Folder]]
):
    """Over two inputs: what returns to an id in a third is current, and no newer than what was
    there meanwhile.
    """
    folder = tmp_path_factory.mktemp("own-ids")
    task = lamps_job(folder)
    for folders in inputs:
        write_input(folder, folders)
        distinct = distinct_in(folders.values())
        assert planned_and_run(task, distinct)["read"] == len(distinct)


@folder_settings(10)
@given(folders=folders_of)
def test_no_answer_is_lost_where_tables_pass_before_the_last_record_is_read(
    tmp_path_factory, folders: dict[str, Folder]
):
    """As in a large input that no model arranges: here every record is a table."""
    folder = tmp_path_factory.mktemp("own-ids")
    task = lamps_job(folder)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("pipeline.flow.PARTITION_BYTES", 1)
        patched.setattr("pipeline.reading.source.BLOCK_RECORDS", 1)
        write_input(folder, folders)
        distinct = distinct_in(folders.values())
        assert counts(run(task))["answered"] == len(distinct)
        next_finds_all(task, distinct)


def two_years(folder: Path) -> Job:
    """Two shards that count from 0, and two text files of one name."""
    for year, lamps in (("2023", ["red", "green"]), ("2024", ["amber", "blue"])):
        lines = tuple(Given(str(number), lamp) for number, lamp in enumerate(lamps))
        Folder(lines, texts=(Given("ridge_CQ1", lamps[0]),)).write(folder / "in" / year)
    return lamps_job(folder)


def test_a_first_run_that_met_only_one_of_two_is_not_done_twice(tmp_path):
    task = two_years(tmp_path)
    assert counts(run(task, limit=1)) == {"read": 1, "answered": 1}
    assert counts(run(task)) == {"read": 6, "current": 1, "answered": 5}
    assert sum(stored_questions(task).values()) == 6


def test_limits_lead_to_the_end(tmp_path):
    task = two_years(tmp_path)
    for left in (4, 2, 0):
        assert counts(run(task, limit=2)).get("answered", 0) == min(left + 2, 2)
        assert plan(task).totals.standings["work"] == left
    assert sum(stored_questions(task).values()) == 6


def test_either_id_selects(tmp_path):
    task = two_years(tmp_path)
    run(task)
    ids = record_ids(task)
    own = next(id_ for id_ in ids if id_.startswith("1@"))
    assert counts(run(task, only=["record_id=1"])) == {"read": 2, "current": 2}
    assert counts(run(task, only=[f"record_id={own}"])) == {"read": 1, "current": 1}


@pytest.mark.parametrize("bucket", ["1/2", "2/2"])
def test_an_own_id_stays_in_the_bucket_of_the_id_that_the_user_gave(tmp_path, bucket):
    write_jsonl(tmp_path / "in/a.jsonl", [Given(str(n % 20), f"lamp {n}").row() for n in range(40)])
    task = lamps_job(tmp_path)
    first = run_bucket(task, bucket)
    assert 0 < first["answered"] < 40
    assert run_bucket(task, bucket) == {"read": first["read"], "current": first["read"]}


def run_bucket(task: Job, bucket: str) -> dict[str, int]:
    place = {"uri": task.input.uri, "bucket": bucket}
    return counts(run(Job.model_validate({**task.model_dump(mode="json"), "input": place})))


def record_ids(task: Job) -> list[str]:
    tables = read_rows(Storage().at(task.output.uri), BY_RECORD)
    return sorted(id_ for table in tables for id_ in table["record_id"].to_pylist())


def test_an_answer_under_a_plain_id_stays_when_another_record_of_that_id_comes(tmp_path):
    task = two_years(tmp_path)
    other = tmp_path / "in/2024"
    other.rename(tmp_path / "2024")
    assert counts(run(task)) == {"read": 3, "answered": 3}
    assert record_ids(task) == ["0", "1", "ridge_CQ1"]
    (tmp_path / "2024").rename(other)
    assert counts(run(task)) == {"read": 6, "current": 3, "answered": 3}
    assert [id_ for id_ in record_ids(task) if "@" not in id_] == ["0", "1", "ridge_CQ1"]
    shutil.rmtree(tmp_path / "in/2023")
    assert counts(run(task)) == {"read": 3, "current": 3}


def test_answers_of_two_records_under_one_id_are_told_apart_again(tmp_path):
    """In a store that was written before such records had ids of their own."""
    task = two_years(tmp_path)
    run(task)
    old = tmp_path / "store/answers"
    for part in list(old.iterdir()):
        rows = pq.read_table(part)
        plain = pa.array([id_.split("@")[0] for id_ in rows["record_id"].to_pylist()])
        at = rows.schema.get_field_index("record_id")
        pq.write_table(rows.set_column(at, rows.schema.field(at), plain), part)
    assert len(record_ids(task)) == 3
    assert plan(task).totals.standings["work"] == 3
    assert counts(run(task)) == {"read": 6, "current": 3, "answered": 3}
    assert counts(run(task)) == {"read": 6, "current": 6}
    assert all(n == 1 for n in stored_questions(task).values())
    assert len(record_ids(task)) == 6


def test_what_is_shared_and_what_is_identical_is_counted_and_named(tmp_path):
    task = two_years(tmp_path)
    shutil.copytree(tmp_path / "in/2023", tmp_path / "in/again")
    document = run(task)
    assert counts(document) == {"read": 6, "answered": 6}
    ids = document["ids"]
    assert (ids["shared"], ids["records"], ids["identical"]) == (3, 6, 3)
    assert plan(task).ids == ids
    assert [example["id"] for example in ids["examples"]] == ["0", "1", "ridge_CQ1"]
    stored = record_ids(task)
    for example in ids["examples"]:
        assert {r["record_id"] for r in example["records"]} <= set(stored)
        assert all((tmp_path / "in").as_uri() in r["place"] for r in example["records"])
    shared, copies = lines_about(ids)
    assert shared.startswith("3 ids for 6 different records: 0 (file:///")
    assert copies.startswith("3 identical copies left out: file:///")


def test_an_input_without_such_ids_is_told_nothing(tmp_path):
    write_jsonl(tmp_path / "in/a.jsonl", [Given(str(n), "red").row() for n in range(3)])
    assert lines_about(run(lamps_job(tmp_path))["ids"]) == []


def test_a_cluster_finds_the_same_as_one_process(ray_cluster, tmp_path):
    task = two_years(tmp_path)
    shutil.copytree(tmp_path / "in/2023", tmp_path / "in/again")
    here = run(task)
    there = lamps_job(tmp_path).model_copy(update={"output": Output(uri=str(tmp_path / "there"))})
    planned = make_plan(prepare(there), RayData(), ignore)
    document = run_on_cluster(there)
    assert document["ids"] == here["ids"] == planned.ids
    assert counts(document) == counts(here)
    assert planned.totals.standings["work"] == 6
    assert record_ids(there) == record_ids(task)
    assert counts(run_on_cluster(there)) == {"read": 6, "current": 6}
