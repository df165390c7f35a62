"""Whole runs: what they answer, store and count; in this process unless a test says otherwise."""

import json
import re
import time
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline import flow
from pipeline.answering.prepare import prepare
from pipeline.cluster.in_process import LOCAL_BYTES, InProcess, executor_for
from pipeline.cluster.ray_data import RayData, RayStream
from pipeline.config.schema import NEW_FIRST, Job, PromptChoice
from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import Storage
from pipeline.flow import partitions_of
from pipeline.results.pages.run_page import write_report
from pipeline.runs.execute import execute
from pipeline.runs.plan import Cause, make_plan
from pipeline.runs.recheck import recheck_store
from pipeline.store.reader import read_rows
from tests.support.jobs import (
    BETTER_PROMPT,
    ROOT,
    counts,
    ignore,
    job,
    plan,
    rows,
    run,
    run_on_cluster,
    stored,
    write_jsonl,
)
from tests.support.scripted import Answered, scripted_job, thinking

TEMPLATE = "---\nname: trial\nversion: {version}\n---\n{text}\n"


@pytest.fixture
def shards(tmp_path) -> Path:
    """Forty records in two shards."""
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(30)))
    write_jsonl(tmp_path / "shards/b.jsonl", rows(range(30, 40)))
    return tmp_path / "shards"


def test_every_record_is_answered_once_and_then_current(shards, tmp_path):
    task = job(shards, tmp_path / "store")
    assert counts(run(task)) == {"read": 40, "answered": 40}
    parts = sorted((tmp_path / "store/answers").iterdir())
    assert counts(run(task)) == {"read": 40, "current": 40}
    assert sorted((tmp_path / "store/answers").iterdir()) == parts
    assert sorted(stored(tmp_path / "store")["record_id"].to_pylist()) == sorted(
        r["record_id"] for r in rows(range(40))
    )


def test_a_new_shard_is_the_only_work(shards, tmp_path):
    task = job(shards, tmp_path / "store")
    run(task)
    write_jsonl(shards / "c.jsonl", rows(range(40, 45)))
    assert counts(run(task)) == {"read": 45, "current": 40, "answered": 5}


def test_only_an_edit_that_changes_rendered_text_makes_work(shards, tmp_path):
    template = tmp_path / "trial.md"
    task = job(shards, tmp_path / "store", prompt=str(template))
    template.write_text(TEMPLATE.format(version=1, text="{{ question }}"))
    assert counts(run(task)) == {"read": 40, "answered": 40}
    template.write_text(TEMPLATE.format(version=2, text="{# a remark #}{{ question }}"))
    assert counts(run(task)) == {"read": 40, "current": 40}
    template.write_text(
        TEMPLATE.format(
            version=3, text="{{ question }}{% if 'pond 7?' in question %} Sure?{% endif %}"
        )
    )
    assert counts(run(task)) == {"read": 40, "current": 39, "answered": 1}


def test_a_failed_answer_stays_current(tmp_path):
    cut = [{**row, "recorded_answer": "There were herons at the"} for row in rows(range(3))]
    write_jsonl(tmp_path / "shards/a.jsonl", [*cut, *rows(range(3, 10))])
    task = job(tmp_path / "shards", tmp_path / "store", engine={"kind": "recorded"})
    first = run(task)
    assert counts(first) == {"read": 10, "answered": 7, "failed": 3}
    assert first["failed_checks"] == {"complete": 3}
    assert first["status"] == "over_budget"
    assert counts(run(task)) == {"read": 10, "current": 10, "current_failed": 3}


def test_rejects_are_written_once_and_counted_by_every_run(shards, tmp_path):
    (shards / "broken.jsonl").write_bytes(b'{"record_id": "x"\n\xff\n')
    (shards / "scan.pdf").write_bytes(b"%PDF-1.4")
    task = job(shards, tmp_path / "store")
    for _ in range(2):
        document = run(task)
        assert document["rejects"] == {"invalid_json": 1, "not_utf8": 1, "unknown_kind": 1}
    rejects = stored(tmp_path / "store", "rejects").to_pylist()
    assert sorted((Path(r["source_uri"]).name, r["source_row"], r["reason"]) for r in rejects) == [
        ("broken.jsonl", 0, "invalid_json"),
        ("broken.jsonl", 1, "not_utf8"),
        ("scan.pdf", 0, "unknown_kind"),
    ]
    assert {r["payload"] for r in rejects} == {b'{"record_id": "x"', b"\xff", b"%PDF-1.4"}


def test_a_record_that_the_template_cannot_render_is_a_reject(shards, tmp_path):
    template = tmp_path / "trial.md"
    template.write_text(TEMPLATE.format(version=1, text="{{ question }} {{ extra.year }}"))
    write_jsonl(shards / "c.jsonl", [{**rows([50])[0], "year": 2020}])
    document = run(job(shards, tmp_path / "store", prompt=str(template)))
    assert counts(document) == {"read": 41, "answered": 1, "rejected": 40}
    assert document["rejects"] == {"missing_field": 40}
    (detail,) = set(stored(tmp_path / "store", "rejects")["detail"].to_pylist())
    assert detail.startswith(f"{template}:5: ")
    payload = json.loads(stored(tmp_path / "store", "rejects")["payload"][0].as_py())
    assert payload["passages"][1] == {
        "text": "Rain fell on most days of the survey.",
        "source": "p. 3",
    }


def test_parts_hold_at_most_rows_per_file(shards, tmp_path):
    run(job(shards, tmp_path / "store", rows_per_file=7))
    sizes = [pq.read_metadata(p).num_rows for p in (tmp_path / "store/answers").iterdir()]
    assert sum(sizes) == 40
    assert max(sizes) <= 7


def test_replicas_share_the_work(shards, ray_cluster, tmp_path):
    document = run_on_cluster(job(shards, tmp_path / "store", engine={"replicas": 3}))
    assert counts(document) == {"read": 40, "answered": 40}
    assert len(document["replicas"]) == 3


def test_tasks_that_read_make_the_batches_that_no_model_reads(
    shards, ray_cluster, tmp_path, monkeypatch
):
    """As in a large input: prompts move from one process to another once."""
    monkeypatch.setattr(flow, "PARTITION_BYTES", 1000)
    operators: list[str] = []
    receipts = RayStream.receipts

    def seen(stream: RayStream):
        yield from receipts(stream)
        stats = stream.dataset.stats()
        operators.extend(re.findall(r"^Operator \d+ (.*?): \d+ tasks", stats, re.MULTILINE))

    monkeypatch.setattr(RayStream, "receipts", seen)
    task = job(shards, tmp_path / "store", rows_per_file=7, engine={"kind": "recorded"})
    assert partitions_of(prepare(task)) > 3
    assert counts(run_on_cluster(task)) == {"read": 40, "answered": 40}
    assert len(operators) == 2  # reading, and the replicas
    sizes = [pq.read_metadata(p).num_rows for p in (tmp_path / "store/answers").iterdir()]
    assert max(sizes) == 7
    assert counts(run_on_cluster(task)) == {"read": 40, "current": 40}


def test_the_run_file_records_the_job_and_its_results(shards, tmp_path):
    document = run(job(shards, tmp_path / "store"))
    (path,) = (tmp_path / "store/runs").glob("*/run.json")
    assert json.loads(path.read_text()) == document
    assert path.parent.name == document["run_id"]
    assert document["status"] == "done"
    assert document["job"]["input"]["uri"] == str(shards)
    assert "State only what the passages say" in document["prompt"]["body"]
    assert {"overnight", "ray", "pyarrow", "python"} <= set(document["versions"])
    assert 0 < document["timings"]["first_rows"] <= document["timings"]["total"]


def test_a_plan_says_what_a_run_would_do_and_changes_nothing(shards, tmp_path):
    task = job(shards, tmp_path / "store")
    before = plan(task)
    assert not (tmp_path / "store").exists()
    assert (before.totals.standings["work"], before.totals.sums["read"]) == (40, 40)
    assert before.records == {Cause("new"): 40}
    assert before.prompt_tokens[Cause("new")] > 40 * 100
    run(task)
    after = plan(task)
    assert (after.totals.standings["work"], after.totals.states["current"]) == (0, 40)
    assert not after.records


def test_verbatim_prompts_cannot_be_arranged(shards):
    verbatim = {"template": "verbatim", "passages": "shared_first"}
    with pytest.raises(ConfigError, match=r"prompt\.passages: shared_first needs a template"):
        prepare(job(shards, shards.parent / "store", prompt=verbatim))


def test_a_store_inside_its_own_input_is_refused(shards):
    for inside in (shards, shards / "store"):
        with pytest.raises(ConfigError, match="is inside the input"):
            prepare(job(shards, inside))


def test_a_store_whose_parts_match_the_input_s_glob_is_refused(shards):
    run(job(shards / "*.jsonl", shards / "store"))
    with pytest.raises(ConfigError, match="is inside the input"):
        prepare(job(shards / "**", shards / "store"))


def test_the_demo_shows_answers_a_failed_check_and_rejects(tmp_path):
    document = run(job(ROOT / "conf/demo/shards", tmp_path / "store", prompt=BETTER_PROMPT))
    assert document["status"] == "done"
    assert document["counts"]["read"] == 83
    assert document["failed_checks"] == {"repetition": 1}
    assert document["rejects"] == {
        "empty_file": 1,
        "invalid_json": 1,
        "missing_field": 1,
        "not_utf8": 1,
        "truncated": 1,
        "unknown_kind": 1,
        "wrong_type": 1,
    }
    answers = [r for t in read_rows(Storage().at(str(tmp_path / "store"))) for r in t.to_pylist()]
    papers = {r["paper_id"] for r in answers}
    assert len(papers) >= 12
    assert all(len({r["question_id"] for r in answers if r["paper_id"] == p}) <= 6 for p in papers)
    assert [r["record_id"] for r in answers if r["input_repairs"]] == ["variable-stars-2019_CQ3"]


@pytest.mark.parametrize("run_it", [run, run_on_cluster])
def test_a_run_that_cannot_store_ends_with_the_storage_error(
    run_it, ray_cluster, tmp_path, moto_s3
):
    from pipeline.core.errors import StorageError

    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(3)))
    task = job(tmp_path / "shards", "s3://no-such-bucket/store", storage=moto_s3.storage())
    began = time.monotonic()
    with pytest.raises(StorageError, match="no-such-bucket"):
        run_it(task)
    assert time.monotonic() - began < 60


def test_no_batch_is_larger_than_a_part(shards, tmp_path):
    seen = []
    task = job(shards, tmp_path / "store", rows_per_file=9)
    execute(prepare(task), InProcess(), [lambda progress: seen.append(progress.totals.done)])
    assert seen[-1] == 40
    assert max(b - a for a, b in pairwise([0, *seen])) <= 9


def test_names_in_records_never_become_paths(tmp_path):
    """Neither in the store nor on the page about a run."""
    names = ["../../up", "/etc/passwd", "a/../../b", "..", "c:\\d", "file:///e", "\u2028.", "~"]
    lines = [
        {**row, "record_id": f"{name}#{n}", "paper_id": name, "question_id": name}
        for n, (row, name) in enumerate(zip(rows(range(len(names))), names, strict=True))
    ]
    write_jsonl(tmp_path / "in/shards/a.jsonl", [*lines, {"record_id": "../../rejected"}])
    task = job(tmp_path / "in/shards", tmp_path / "in/store")
    document = run(task)
    assert counts(document) == {"read": 9, "answered": 8, "rejected": 1}
    write_report(prepare(task).store, task)
    files = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    expected = re.compile(
        r"in/shards/a\.jsonl|in/store/(answers|rejects)/part-[\w-]+\.parquet"
        rf"|in/store/runs/{document['run_id']}/(run\.json|report\.html)"
    )
    assert all(expected.fullmatch(name) for name in files), files
    assert len(files) == 5


# Both executors.

COMPARED = ("record_id", "generation_key", "prompt_key", "status", "answer", "completion", "stance")


def rows_of(store: Path, columns=COMPARED) -> list[tuple]:
    return sorted(zip(*(stored(store)[name].to_pylist() for name in columns), strict=True))


def rejects_of(store: Path) -> list[tuple]:
    columns = ("source_uri", "source_row", "reason", "detail", "payload")
    rejects = stored(store, "rejects")
    return sorted(zip(*(rejects[name].to_pylist() for name in columns), strict=True))


def test_both_executors_plan_answer_and_recheck_the_demo_alike(ray_cluster, tmp_path):
    demo = ROOT / "conf/demo/shards"
    here, there = (job(demo, tmp_path / name, prompt=BETTER_PROMPT) for name in ("here", "there"))
    on_cluster = make_plan(prepare(there), RayData(), ignore, examples=3)
    in_process = plan(here, examples=3)
    # Details of rejects, and tallies, depend on how many tables a slow machine makes.
    for made in (in_process, on_cluster):
        made.totals.details.clear()
        del made.totals.standings["tally"]
    assert (in_process.totals, in_process.records) == (on_cluster.totals, on_cluster.records)
    assert in_process.prompt_tokens == on_cluster.prompt_tokens
    one, other = run(here), run_on_cluster(there)
    for part in ("counts", "rejects", "stances", "checks_missed", "failed_checks"):
        assert one[part] == other[part]
    assert rows_of(tmp_path / "here") == rows_of(tmp_path / "there")
    assert rejects_of(tmp_path / "here") == rejects_of(tmp_path / "there")
    assert counts(run(there)) == counts(run_on_cluster(here))
    lower = {"answer": {"max_words": 8}, "prompt": BETTER_PROMPT}
    _, changed = recheck_store(job(demo, tmp_path / "here", **lower), InProcess(), ignore)
    _, alike = recheck_store(job(demo, tmp_path / "there", **lower), RayData(), ignore)
    assert changed.rows == alike.rows == 76
    assert sorted(changed.verdicts) == sorted(alike.verdicts)
    assert changed.verdicts
    assert rows_of(tmp_path / "here") == rows_of(tmp_path / "there")


@pytest.mark.soak
def test_both_executors_answer_the_published_corpus_alike(ray_cluster, corpus, tmp_path):
    """With recorded answers and prompts from our template."""
    engine = {"kind": "recorded", "model": "recorded"}
    documents = {}
    for name, run_it in (("here", run), ("there", run_on_cluster)):
        task = job(corpus.records, tmp_path / name, prompt=BETTER_PROMPT, engine=engine)
        documents[name] = run_it(task, only=[f"question_id={q}" for q in ("1", "7", "CQ1", "CQ7")])
    one, other = documents["here"], documents["there"]
    assert one["counts"] == other["counts"]
    assert one["counts"]["read"] > 200
    sums = [{n: v for n, v in d["sums"].items() if not n.startswith("part")} for d in (one, other)]
    assert sums[0] == sums[1]
    assert rows_of(tmp_path / "here") == rows_of(tmp_path / "there")


@pytest.mark.parametrize(
    ("stored_bytes", "address", "kind"),
    [(LOCAL_BYTES, "", InProcess), (LOCAL_BYTES + 1, "", RayData), (1, "1.2.3.4:6379", RayData)],
)
def test_commands_without_an_engine_work_in_this_process_if_there_is_little_to_read(
    stored_bytes, address, kind, monkeypatch
):
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert isinstance(executor_for(stored_bytes), kind)


def test_a_backfill_begins_with_the_papers_whose_answers_were_long_before(tmp_path):
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(18)))
    with thinking(lambda pond: 3000 if pond == 9 else 20) as endpoint:
        task = scripted_job(endpoint.url, tmp_path / "shards", tmp_path / "store", 6, "long")
        assert _papers(task, endpoint)[0] != 1
        (tmp_path / "new.md").write_text(TEMPLATE.format(version=2, text="{{ question }} Quickly!"))
        changed = PromptChoice(template=str(tmp_path / "new.md"))
        assert _papers(task.model_copy(update={"prompt": changed}), endpoint)[0] == 1


def _papers(task: Job, endpoint: Answered, current: int = 0) -> list[int]:
    """Papers, six ponds each, in the order in which a run asks about them, in one process."""
    endpoint.times.clear()
    here = {"current": current} if current else {}
    assert counts(run(task)) == {"read": 18, **here, "answered": 18 - current}
    return list(dict.fromkeys(pond // 6 for pond, _ in endpoint.times))


def _with_priority(task: Job, priority: str) -> Job:
    return task.model_copy(update={"input": task.input.model_copy(update={"priority": priority})})


def test_papers_with_the_highest_numbers_in_a_column_come_first(tmp_path):
    """The second paper has one high number, the third some as text, the first none."""
    lines = rows(range(18))
    lines[9]["need"] = {"votes": 7}
    for line in lines[12:]:
        line["need"] = {"votes": "1.5"}
    lines[0]["need"] = {"votes": "many"}
    write_jsonl(tmp_path / "shards/a.jsonl", lines)
    with thinking(lambda _: 20) as endpoint:
        task = scripted_job(endpoint.url, tmp_path / "shards", tmp_path / "store", 6, "first")
        assert _papers(_with_priority(task, "need.votes"), endpoint) == [1, 2, 0]


def test_records_without_any_answer_come_before_those_whose_answers_are_outdated(tmp_path):
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(12)))
    with thinking(lambda pond: 3000 if pond < 12 else 20) as endpoint:
        task = scripted_job(endpoint.url, tmp_path / "shards", tmp_path / "store", 6, "new")
        run(task)
        write_jsonl(tmp_path / "shards/a.jsonl", rows(range(18)))
        (tmp_path / "new.md").write_text(TEMPLATE.format(version=2, text="{{ question }} Quickly!"))
        changed = task.model_copy(
            update={"prompt": PromptChoice(template=str(tmp_path / "new.md"))}
        )
        assert _papers(_with_priority(changed, NEW_FIRST), endpoint)[0] == 2
        assert counts(run(task)) == {"read": 18, "current": 12, "answered": 6}


def test_without_a_model_records_come_in_the_same_order(tmp_path):
    lines = [{**line, "votes": n % 3} for n, line in enumerate(rows(range(9)))]
    write_jsonl(tmp_path / "shards/a.jsonl", lines)
    task = _with_priority(job(tmp_path / "shards", tmp_path / "store", 3), "votes")
    assert counts(run(task)) == {"read": 9, "answered": 9}
    parts = sorted((tmp_path / "store/answers").glob("part-*"), key=lambda p: p.stat().st_mtime_ns)
    firsts = [pq.read_table(part)["record_id"].to_pylist() for part in parts]
    assert [{int(i.split("-")[1][0]) * 6 + int(i[-1]) for i in ids} for ids in firsts] == [
        {2, 5, 8},
        {1, 4, 7},
        {0, 3, 6},
    ]


def test_many_partitions_have_one_order(ray_cluster, tmp_path, monkeypatch):
    """Thirty papers in several partitions, two of them wanted first, and one replica."""
    monkeypatch.setattr(flow, "PARTITION_BYTES", 10_000)
    lines = [{**line, "votes": int(n // 6 in (14, 28))} for n, line in enumerate(rows(range(180)))]
    write_jsonl(tmp_path / "shards/a.jsonl", lines)
    with thinking(lambda _: 20) as endpoint:
        task = scripted_job(endpoint.url, tmp_path / "shards", tmp_path / "store", 6, "first")
        prepared = _with_priority(task, "votes")
        assert partitions_of(prepare(prepared)) > 3
        assert counts(run_on_cluster(prepared)) == {"read": 180, "answered": 180}
        papers = [pond // 6 for pond, _ in sorted(endpoint.times, key=lambda at: at[1])]
    places = [at for at, paper in enumerate(papers) if paper in (14, 28)]
    print("requests about the wanted papers stood at", places)
    assert max(places) < 60  # of 180: some batches are in flight at a time
