"""A store that an earlier release wrote: today's code finds it current and reads all of it.

`old/` holds the input, two job files and their store. The jobs ran in `/data/old`; `source_uri`
is the only thing that depends on the folder, and rejects are known by it.
"""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.answering.checks import chosen_checks
from pipeline.answering.evaluate import Evaluator
from pipeline.answering.past_runs import PastRuns
from pipeline.answering.recheck import Boilerplates, Reevaluation, recheck_rows
from pipeline.cluster.identities import Identities
from pipeline.config.loading import load_job
from pipeline.config.schema import Job
from pipeline.core.arrow import structs_of_lists
from pipeline.core.filesystem import Location, Storage
from pipeline.core.records import Message, Record, Reject
from pipeline.prompting.render import to_prompts
from pipeline.prompting.template import load_prompt
from pipeline.reading.shards import list_shards
from pipeline.reading.source import read_items
from pipeline.results.export.files import export_records
from pipeline.results.pages.run_page import write_report
from pipeline.store import read_answers
from pipeline.store.compaction import compact
from pipeline.store.history import History, stored_messages
from pipeline.store.ledger import Ledger
from pipeline.store.parts import list_parts
from pipeline.store.reader import BY_RECORD, read_rows
from pipeline.store.runs import active_runs, all_runs, replica_seconds
from pipeline.store.schema import ANSWERS
from tests.pipeline.store.test_compaction import NOW
from tests.support.jobs import counts, plan, run
from tests.support.shards import items_of

JOBS = ("recorded", "extractive")
STANDINGS = {
    "recorded": {"current": 5, "current_failed": 1, "rejected_before": 1},
    "extractive": {"current": 6, "rejected_before": 1},
}
RECORDED, EXTRACTIVE = "20261128T194713Z-247a", "20261128T194745Z-1c1e"


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch) -> Location:
    """A copy of the store; job files and input are in the current folder."""
    shutil.copytree(Path(__file__).parent / "old", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Storage().at("store")


CHECKS_THEN = {"complete", "echo", "empty", "format", "repetition", "word_count"}


def old_job(name: str) -> Job:
    return load_job(f"{name}.yaml", [])


def prompts(job: Job, ledger: Ledger) -> pa.Table:
    """The prompts of a job today, from input that lies where it lay then."""
    shards = list_shards(job.input.uri, Storage()).shards
    items = [moved(item) for item in read_items(shards, job.input, Storage())]
    source = load_prompt(job.prompt.template, job.answer)
    return to_prompts(items_of(*items), job, source, lambda: ledger, Identities())


def moved(item: Record | Reject) -> Record | Reject:
    here, then = Path.cwd().as_uri(), "file:///data/old"
    return replace(item, place=item.place._replace(uri=item.place.uri.replace(here, then)))


def rechecked(job: Job, store: Location, max_words: int, names=CHECKS_THEN) -> list[Reevaluation]:
    checks = (check for check in chosen_checks(job.checks) if not names or check.name in names)
    evaluator = Evaluator(tuple(checks), max_words)
    runs = list(all_runs(store))
    boilerplates = Boilerplates.of_runs(runs, job.input.text)
    return [
        verdict
        for rows in read_rows(store)
        for verdict in recheck_rows(rows, evaluator, boilerplates, PastRuns.of(runs))[1].verdicts
    ]


@pytest.mark.parametrize("name", JOBS)
def test_every_answer_is_current_and_every_reject_known(store, name):
    standings = Counter(prompts(old_job(name), Ledger.of(store))["standing"].to_pylist())
    del standings["tally"]
    assert standings == STANDINGS[name]


@pytest.mark.parametrize("name", JOBS)
def test_a_run_today_generates_nothing(store, name):
    parts = list_parts(store.join("answers"))
    document = run(old_job(name))
    assert counts(document)["current"] == 6
    assert "answered" not in counts(document)
    assert list_parts(store.join("answers")) == parts


@pytest.mark.parametrize("name", JOBS)
def test_a_run_that_carries_columns_generates_nothing_and_fills_them_in(store, name):
    job = old_job(name)
    output = job.output.model_copy(update={"carry": "all"})
    carrying = job.model_copy(update={"output": output})
    before = read_answers("store").to_table().drop_columns(["extra", "written_at"])
    assert counts(run(carrying)).get("filled_in", 0) == with_columns(job)
    assert "answered" not in counts(run(carrying))
    after = read_answers("store").to_table()
    order = [(column, "ascending") for column in ("generation_key", "record_id")]
    assert len(after) - after["extra"].null_count == with_columns(job)
    kept = after.drop_columns(["extra", "written_at"])
    assert kept.sort_by(order).equals(before.sort_by(order))


def with_columns(job: Job) -> int:
    """Records of the job's input that have columns of a user."""
    shards = list_shards(job.input.uri, Storage()).shards
    items = read_items(shards, job.input, Storage())
    return sum(isinstance(item, Record) and bool(item.extra) for item in items)


@pytest.mark.parametrize("ending", ["csv", "parquet", "xlsx", "jsonl"])
def test_it_is_exported_with_all_columns_but_those_that_it_spreads(store, tmp_path, ending):
    assert export_records(store, str(tmp_path / f"out.{ending}"), Storage()) == 6
    if ending == "parquet":
        names = pq.read_schema(tmp_path / "out.parquet").names
        assert sorted([*names, "extra", "fields"]) == sorted(ANSWERS.names)


def test_a_plan_finds_each_record_s_last_prompt(store):
    work = prompts(old_job("extractive"), Ledger.empty()).filter(pc.field("standing") == "work")
    ids = work["record_id"].to_pylist()
    answers = History.of(store).find(ids)
    assert [a.prompt_key.hex() for a in answers if a] == work["prompt_key"].to_pylist()
    assert {a.provenance[:3] for a in answers if a} == {("short", "2", "extractive")}
    messages = map(list, structs_of_lists(work["messages"], Message))
    parts = {record_id: a.part for record_id, a in zip(ids, answers, strict=True) if a}
    assert stored_messages(store, parts) == dict(zip(ids, messages, strict=True))


def test_what_an_earlier_release_did_not_store_is_changed_where_the_job_sets_it(store):
    job = old_job("extractive")
    assert not plan(job).records
    settings = job.engine.model_copy(update={"reasoning": "off"})
    sampling = job.sampling.model_copy(update={"seed": 1})
    changed = plan(job.model_copy(update={"engine": settings})).records
    both = plan(job.model_copy(update={"engine": settings, "sampling": sampling})).records
    assert {cause.changes for cause in changed} == {("reasoning",)}
    assert {cause.changes for cause in both} == {("sampling", "reasoning")}


@pytest.mark.parametrize("name", JOBS)
def test_a_recheck_changes_nothing_unless_a_limit_has_changed(store, name):
    job = old_job(name)
    assert_only_judged(rechecked(job, store, job.answer.max_words))
    assert ["word_count" in verdict.missed[1] for verdict in rechecked(job, store, 4)] == [
        True
    ] * 12


def assert_only_judged(verdicts: list[Reevaluation]) -> None:
    """Whether an answer answers its question was not told in the release that wrote these rows."""
    assert len(verdicts) == 12
    for verdict in verdicts:
        assert verdict.answers_question[0] is None
        assert verdict.answers_question[1] in ("yes", "no", "unsure")
        assert not verdict.answer_changed
        for was, now in (verdict.status, verdict.stance, verdict.missed):
            assert was == now


@pytest.mark.parametrize("name", JOBS)
def test_a_recheck_adds_the_checks_of_today_and_changes_no_status(store, name):
    job = old_job(name)
    verdicts = rechecked(job, store, job.answer.max_words, names=())
    assert len(verdicts) == 12
    assert all(before == after for v in verdicts for before, after in (v.status, v.stance))
    assert all(set(before) <= set(after) for before, after in (v.missed for v in verdicts))


def test_compaction_keeps_every_row_and_every_column(store):
    before = read_answers("store").to_table().sort_by("generation_key")
    assert before.schema.equals(ANSWERS)
    assert before["reasoning"].null_count == before["confidence"].null_count == 12
    assert before["generated_for"].null_count == 12
    done = compact(store, NOW)
    assert (done.parts_before, done.parts_after, done.rows) == (2, 1, 12)
    assert read_answers("store").to_table().sort_by("generation_key").equals(before)
    assert sum(rows.num_rows for rows in read_rows(store, BY_RECORD)) == 6
    assert len(Ledger.of(store).rejects) == 1


def test_answers_of_today_stand_beside_those_of_then(store):
    job = old_job("recorded")
    run(job.model_copy(update={"engine": job.engine.model_copy(update={"kind": "extractive"})}))
    answers = read_answers("store").to_table()
    assert answers.num_rows == 18
    assert sum(rows.num_rows for rows in read_rows(store)) == 18
    compact(store, NOW)
    assert (
        read_answers("store").to_table().sort_by("written_at").equals(answers.sort_by("written_at"))
    )
    assert len(rechecked(job, store, job.answer.max_words, names=())) == 12  # those of then


def test_run_files_are_read_and_their_jobs_still_valid(store):
    recorded, extractive = all_runs(store)
    assert (recorded["run_id"], recorded["status"]) == (RECORDED, "done")
    assert Job.model_validate(recorded["job"]) == old_job("recorded")
    assert Job.model_validate(extractive["job"]) == old_job("extractive")
    assert replica_seconds(extractive) == 12.501
    assert active_runs(store) == []


@pytest.mark.parametrize("run_id", [RECORDED, EXTRACTIVE])
def test_a_report_shows_a_run(store, run_id):
    page = write_report(store, old_job("extractive"), run_id)
    html = Path(page.path).read_text(encoding="utf-8")
    assert run_id in html
    assert "invalid_json" in html
