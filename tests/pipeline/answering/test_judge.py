"""A judge gives verdicts on answers, new or stored, and generates no answer for that."""

import asyncio
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from pipeline.answering.answers_question import Estimate
from pipeline.answering.judge import Judge
from pipeline.answering.judge_worker import JudgeWorker
from pipeline.answering.prepare import prepare
from pipeline.cluster.in_process import InProcess
from pipeline.cluster.reporter import Reporter
from pipeline.config.loading import load_job
from pipeline.config.schema import Job
from pipeline.core.arrow import pack, receipts_in
from pipeline.core.errors import ConfigError, EngineError
from pipeline.core.filesystem import Location, Storage
from pipeline.core.records import Answered, Completion, Judgement, Prompt
from pipeline.runs.doctor import diagnose
from pipeline.runs.recheck import recheck_store
from pipeline.store.compaction import compact
from pipeline.store.parts import PartWriter
from pipeline.store.reader import read_rows
from pipeline.store.sink import Sink
from tests.pipeline.runs.test_carry import NOW
from tests.support.jobs import (
    ROOT,
    counts,
    ignore,
    job,
    job_file,
    plan,
    record,
    rows,
    run,
    run_on_cluster,
    stored,
    write_jsonl,
)
from tests.support.judging import Model, judged_job, judging_model

RATER = "judge:answers@1:first"


@pytest.fixture
def model() -> Iterator[Model]:
    with judging_model() as model:
        yield model


@pytest.fixture
def shards(tmp_path) -> Path:
    return write_jsonl(tmp_path / "shards/a.jsonl", rows(range(6))).parent


def judged(endpoint: Model, shards: Path, **sections: Any) -> Job:
    return judged_job(endpoint.url, shards, shards.parent / "store", **sections)


def template(folder: Path, text: str, front: str = "name: mine\nversion: 1") -> str:
    path = folder / "judge.md"
    path.write_text(f"---\n{front}\n---\n{text}\n")
    return str(path)


def counting(shards: Path) -> dict[str, dict[str, Any]]:
    """The rows that count, by record."""
    store = Storage().at(str(shards.parent / "store"))
    found = rows_in(store)
    assert len({row["record_id"] for row in found}) == len(found)
    return {row["record_id"]: row for row in found}


def by_key(rows_: Sequence[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["record_id"], row["generation_key"]): content(row) for row in rows_}


def rows_in(store: Location) -> list[dict[str, Any]]:
    return [row for table in read_rows(store) for row in table.to_pylist()]


def verdicts(shards: Path) -> dict[str, list[tuple[str, str]]]:
    """Rater and value of every judgement on an answer that counts."""
    return {
        record_id: [(j["rater"], j["value"]) for j in row["judgements"] or ()]
        for record_id, row in counting(shards).items()
    }


def content(row: dict[str, Any]) -> dict[str, Any]:
    """All of a row but what a judgement changes."""
    return {name: v for name, v in row.items() if name not in ("judgements", "written_at")}


# Judging what a run answers.


def test_the_verdict_is_the_next_turn_of_the_answers_conversation(model, shards):
    run(judged(model, shards))
    assert len(model.judged) == 6
    prompts = [body["messages"] for body in model.answered]
    turn = {"role": "user", "content": "Does that answer the question? yes, no, unsure:"}
    for body in model.judged:
        *prompt, said, last = body["messages"]
        assert prompt in prompts
        assert (said["role"], said["content"][:9]) == ("assistant", "Answer:::")
        assert last == turn


def test_every_answer_has_its_judgement_and_keeps_its_own_token_counts(model, shards):
    document = run(judged(model, shards))
    assert counts(document) == {"read": 6, "answered": 6, "judged": 6}
    assert set(map(tuple, verdicts(shards).values())) == {((RATER, "yes"),)}
    assert {row["prompt_tokens"] for row in counting(shards).values()} == {100}
    assert {n: document["sums"][f"judge_{n}_tokens"] for n in ("prompt", "cached")} == {
        "prompt": 600,
        "cached": 240,
    }


def test_an_endpoint_is_asked_at_temperature_0_if_the_job_sets_one(model, shards):
    run(judged(model, shards, sampling={"temperature": 0.7, "seed": 3}))
    assert {body["temperature"] for body in model.answered} == {0.7}
    assert {(body["temperature"], body["seed"]) for body in model.judged} == {(0.0, 3)}


def test_a_form_of_the_answer_is_no_form_of_the_verdict(model, shards):
    options = {"response_format": {"type": "json_object"}, "base_url": f"{model.url}/v1"}
    engine = {"kind": "openai", "model": "first", "options": options}
    run(judged(model, shards, engine=engine))
    assert all("response_format" in body for body in model.answered)
    assert model.judged
    assert not any("response_format" in body for body in model.judged)


@pytest.mark.parametrize(
    ("said", "value"), [("No, it is about boats.", "no"), ("**Unsure**", "unsure"), ("YES", "yes")]
)
def test_an_endpoints_words_become_the_choice_that_they_begin_with(model, shards, said, value):
    model.verdict = lambda _: said
    run(judged(model, shards))
    assert {v for (v,) in map(tuple, verdicts(shards).values())} == {(RATER, value)}


@pytest.mark.parametrize("said", ["Perhaps it does", "", 400, 404])
def test_a_judgement_that_fails_fails_no_record_and_is_asked_for_again(model, shards, said):
    model.verdict = lambda pond: said if pond == 2 else "no"
    document = run(judged(model, shards))
    assert counts(document) == {"read": 6, "answered": 6, "judged": 5, "unjudged": 1}
    assert verdicts(shards)["paper-0_Q2"] == []
    model.forget()
    model.verdict = lambda _: "yes"
    document = run(judged(model, shards))
    assert counts(document) == {"read": 6, "current": 6, "judged": 1, "judged_again": 1}
    assert verdicts(shards)["paper-0_Q2"] == [(RATER, "yes")]
    assert (len(model.answered), len(model.judged)) == (0, 1)


def test_an_answer_without_text_is_not_judged(model, shards):
    job_ = judged(model, shards)
    judge = Judge.of(job_)
    assert judge
    assert not judge.wants({"answer": "", "answers_question": "unsure"})
    assert judge.wants({"answer": "At the pond.", "answers_question": None})


def test_a_judge_of_the_unsure_judges_no_others(model, shards):
    judge = Judge.of(judged(model, shards, judge={"when": "unsure"}))
    answers = [{"answer": "Some.", "answers_question": v} for v in ("yes", "no", None, "unsure")]
    assert judge
    assert [judge.wants(answer) for answer in answers] == [False, False, False, True]


def unsure_of_even_ponds(answer: str, *_: object) -> Estimate:
    """In place of the weights, so that both kinds are there."""
    (pond,) = (int(n) - 3 for n in re.findall(r"\d+", answer))
    return Estimate("no" if pond % 2 else "unsure", 0.5)


def test_a_run_asks_the_judge_of_the_unsure_about_these_alone(model, shards, monkeypatch):
    monkeypatch.setattr("pipeline.answering.evaluate.estimate", unsure_of_even_ponds)
    unsure = [(RATER, "yes")]
    document = run(judged(model, shards, judge={"when": "unsure"}))
    assert document["counts"]["judged"] == len(model.judged) == 3
    assert verdicts(shards) == {f"paper-0_Q{n}": [] if n % 2 else unsure for n in range(6)}
    assert plan(judged(model, shards, judge={"when": "unsure"})).to_judge == 0
    # asked about all, it is not asked about these again
    model.forget()
    assert counts(run(judged(model, shards)))["judged"] == len(model.judged) == 3
    assert all(found == unsure for found in verdicts(shards).values())


def test_stored_answers_of_which_nobody_is_sure_are_judged(model, shards, monkeypatch):
    monkeypatch.setattr("pipeline.answering.evaluate.estimate", unsure_of_even_ponds)
    run(judged(model, shards, judge=None))
    document = run(judged(model, shards, judge={"when": "unsure"}))
    assert (document["counts"]["judged_again"], len(model.judged)) == (3, 3)


def test_a_verdict_cut_off_by_the_end_of_the_run_leaves_the_answer(model, shards):
    """The answer has been generated; only its verdict is missing."""
    judge = Judge.of(judged(model, shards))
    completion = Completion("At the pond.", "stop")
    prompt = Prompt(record(), (), "", "p", "g")
    answered = Answered(prompt, "At the pond.", None, "answered", completion, (), ())

    class Stuck:
        kind = version = "stuck"

        async def generate(self, request):
            await asyncio.sleep(60)

    class Dead(Stuck):
        async def generate(self, request):
            raise EngineError("dead")

    async def cut_off():
        task = asyncio.create_task(judge.judged(answered, Stuck()))
        await asyncio.sleep(0)
        task.cancel()
        return await task

    for kept in (asyncio.run(cut_off()), asyncio.run(judge.judged(answered, Dead()))):
        assert (kept.answer, kept.judgements, kept.judging.unjudged) == ("At the pond.", (), 1)


# Judging what the store holds.


def test_a_second_run_judges_nothing(model, shards):
    run(judged(model, shards))
    model.forget()
    before = stored(shards.parent / "store").num_rows
    assert counts(run(judged(model, shards))) == {"read": 6, "current": 6}
    assert (model.answered, model.judged) == ([], [])
    assert stored(shards.parent / "store").num_rows == before


def test_a_judge_that_comes_later_judges_stored_answers_and_generates_none(model, shards):
    run(judged(model, shards, judge=None))
    before, asked = counting(shards), list(model.answered)
    model.forget()
    assert plan(judged(model, shards)).to_judge == 6
    document = run(judged(model, shards))
    assert counts(document) == {"read": 6, "current": 6, "judged": 6, "judged_again": 6}
    assert model.answered == []
    after = counting(shards)
    assert {r: content(row) for r, row in after.items()} == {
        r: content(row) for r, row in before.items()
    }
    assert {row["written_at"] - before[r]["written_at"] for r, row in after.items()} == {
        timedelta(microseconds=1)
    }
    # the same conversation as when it is judged at once
    prompts = [body["messages"] for body in asked]
    assert all(body["messages"][:-2] in prompts for body in model.judged)
    assert plan(judged(model, shards)).to_judge == 0


def test_another_template_judges_again_and_nothing_is_overwritten(model, shards, tmp_path):
    run(judged(model, shards))
    model.forget()
    model.verdict = lambda _: "no"
    other = template(tmp_path, "JUDGE: {{ question }} {{ answer }}")
    document = run(judged(model, shards, judge={"template": other}))
    assert counts(document) == {"read": 6, "current": 6, "judged": 6, "judged_again": 6}
    assert model.answered == []
    expected = [(RATER, "yes"), ("judge:mine@1:first", "no")]
    assert all(found == expected for found in verdicts(shards).values())
    words = {body["messages"][-1]["content"] for body in model.judged}
    good = "They counted 3 herons on their nests at the pond."
    assert f"JUDGE: How many herons nested at pond 0? {good}" in words
    assert len(words) == 6


@pytest.mark.parametrize(
    ("again", "change"),
    [
        (0, {"judge": {}}),
        (0, {"sampling": {}}),
        (6, {"judge": {"choices": ["yes", "no"]}}),
        (6, {"judge": {"template": "conf/prompts/judge-supported.md"}}),
    ],
)
def test_what_a_verdict_depends_on_and_nothing_else_makes_a_new_one(model, shards, again, change):
    run(judged(model, shards))
    assert plan(judged(model, shards, **change)).to_judge == again


def test_another_version_of_the_same_words_is_the_same_judge(model, shards, tmp_path):
    first = template(tmp_path, "JUDGE", "name: mine\nversion: 1")
    run(judged(model, shards, judge={"template": first}))
    template(tmp_path, "JUDGE", "name: mine\nversion: 2")
    assert plan(judged(model, shards, judge={"template": first})).to_judge == 0


def test_new_records_are_answered_and_judged_beside_stored_ones(model, shards):
    run(judged(model, shards, judge=None))
    write_jsonl(shards / "b.jsonl", rows(range(6, 9)))
    document = run(judged(model, shards))
    assert counts(document) == {
        "read": 9,
        "current": 6,
        "answered": 3,
        "judged": 9,
        "judged_again": 6,
    }
    assert all(found == [(RATER, "yes")] for found in verdicts(shards).values())


def test_only_the_selected_records_are_judged(model, shards):
    run(judged(model, shards, judge=None))
    document = run(judged(model, shards), only=["question_id=Q3"])
    assert counts(document) == {"read": 1, "current": 1, "judged": 1, "judged_again": 1}
    assert [r for r, found in verdicts(shards).items() if found] == ["paper-0_Q3"]


def test_carried_columns_and_judgements_come_in_the_same_run(model, tmp_path):
    lines = [{**row, "doi": f"10.5555/{n}"} for n, row in enumerate(rows(range(6)))]
    shards = write_jsonl(tmp_path / "shards/a.jsonl", lines).parent
    run(judged(model, shards, judge=None))
    output = {"uri": str(tmp_path / "store"), "rows_per_file": 4, "carry": ["doi"]}
    document = run(judged(model, shards, output=output))
    assert (document["counts"]["filled_in"], document["counts"]["judged_again"]) == (6, 6)
    assert all(row["extra"] and row["judgements"] for row in counting(shards).values())


class Killed(BaseException):
    """Ends a run as a kill does: nothing handles it."""


@pytest.mark.parametrize("parts", range(3))
def test_a_kill_between_judging_and_storing_loses_nothing(model, shards, parts, monkeypatch):
    """Of six answers, four a part; the kill comes when `parts` of them are there."""
    run(judged(model, shards, judge=None))
    before = {r: content(row) for r, row in counting(shards).items()}
    write, done = PartWriter.write_as_it_is, Counter[str]()

    def killed(self, part, rows_):
        if done["parts"] == parts:
            raise Killed
        done["parts"] += 1
        return write(self, part, rows_)

    with monkeypatch.context() as patched:
        patched.setattr(PartWriter, "write_as_it_is", killed)
        assert run(judged(model, shards))["status"] == ["interrupted", "interrupted", "done"][parts]
    assert {r: content(row) for r, row in counting(shards).items()} == before
    judged_by_then = sum(map(bool, verdicts(shards).values()))
    assert judged_by_then in [(0,), (2, 4), (6,)][parts]
    model.forget()
    document = run(judged(model, shards))
    assert document["counts"]["judged"] == 6 - judged_by_then == len(model.judged)
    assert all(found == [(RATER, "yes")] for found in verdicts(shards).values())


def test_recheck_and_compaction_keep_judgements(model, shards):
    run(judged(model, shards))
    expected = verdicts(shards)
    stricter = judged(model, shards, checks={"word_count": {"level": "fail", "most": 3}})
    _, changes = recheck_store(stricter, InProcess(), ignore)
    assert len(changes.verdicts) == 6
    assert verdicts(shards) == expected
    compact(Storage().at(str(shards.parent / "store")), NOW, drop_superseded=True)
    assert verdicts(shards) == expected
    assert plan(judged(model, shards)).to_judge == 0


def test_an_answer_that_a_recheck_extracts_anew_is_judged_anew(model, shards):
    run(judged(model, shards))
    model.forget()
    model.verdict = lambda _: "no"
    whole = {"answer": {"frame": "none"}}
    recheck_store(judged(model, shards, **whole), InProcess(), ignore)
    document = run(judged(model, shards))
    assert document["counts"]["judged_again"] == 6
    assert model.answered == []
    assert all(f == [(RATER, "yes"), (RATER, "no")] for f in verdicts(shards).values())


def test_an_old_store_is_judged(model, tmp_path, monkeypatch):
    """The store of an earlier release has no column for judgements."""
    shutil.copytree(ROOT / "tests/pipeline/store/old/store", tmp_path / "store")
    store = Storage().at(str(tmp_path / "store"))
    before, asked = rows_in(store), []

    async def generate(self, request):
        asked.append(request)
        return Completion("yes", "stop")

    monkeypatch.setattr("pipeline.engines.openai.OpenAIEngine.generate", generate)
    task = judged(model, tmp_path / "shards", input={"store": str(tmp_path / "store")})
    document = run(task)
    with_text = sum(bool(row["answer"]) for row in before)
    assert document["counts"]["read"] == len(before)
    assert document["counts"]["judged"] == with_text == len(asked) > 0
    after = rows_in(store)
    assert sum(bool(row["judgements"]) for row in after) == with_text
    assert by_key(after) == by_key(before)


class Ending(Reporter):
    """Tells replicas that the run goes on so many times, and then that no time is left."""

    def __init__(self, beats: int) -> None:
        self.beats = beats

    async def heartbeat(self, counts, is_stopping) -> float | None:
        self.beats -= 1
        return None if self.beats >= 0 else 0.0


@pytest.mark.parametrize(("beats", "expected"), [(0, 0), (1, 3)])
def test_a_run_that_ends_keeps_the_verdicts_that_it_has(
    model, shards, monkeypatch, beats, expected
):
    """Of six, three never come."""
    run(judged(model, shards, judge=None))
    prepared = prepare(judged(model, shards))

    async def generate(self, request):
        if int(request.prompt.record.record_id[-1]) % 2:
            await asyncio.sleep(600)
        return Completion("yes", "stop")

    monkeypatch.setattr("pipeline.engines.openai.OpenAIEngine.generate", generate)
    sink = Sink(prepared.store.uri, prepared.storage, PartWriter("run"), 10)
    worker = JudgeWorker(
        *(prepared.job, prepared.source, prepared.evaluator, sink, prepared.judge, Ending(beats))
    )
    (totals,) = receipts_in(asyncio.run(worker(pack([stored(shards.parent / "store")]))))
    assert totals.sums["judged"] == expected
    assert sum(map(bool, verdicts(shards).values())) == expected


# Another model's verdict.


def judged_by(model: Model, shards: Path, name: str, **sections: Any) -> Job:
    store = {"store": str(shards.parent / "store")}
    return judged(model, shards, model=name, **{"input": store, **sections})


def test_another_model_judges_a_stores_answers_in_their_conversation(model, shards):
    run(judged(model, shards))
    before, asked = counting(shards), [body["messages"] for body in model.answered]
    model.forget()
    model.verdict = lambda pond: "no" if pond % 2 else "unsure"
    other = judged_by(model, shards, "second")
    assert plan(other).to_judge == 6
    document = run(other)
    assert counts(document) == {"read": 6, "current": 6, "judged": 6, "judged_again": 6}
    assert {body["model"] for body in model.judged} == {"second"}
    assert model.answered == []
    assert all(b["messages"][:-2] in asked for b in model.judged)
    second = "judge:answers@1:second"
    assert verdicts(shards) == {
        f"paper-0_Q{n}": [(RATER, "yes"), (second, "no" if n % 2 else "unsure")] for n in range(6)
    }
    assert {r: content(row) for r, row in counting(shards).items()} == {
        r: content(row) for r, row in before.items()
    }
    # neither job has anything left to do
    model.forget()
    assert counts(run(judged(model, shards))) == {"read": 6, "current": 6}
    assert counts(run(other)) == {"read": 6, "current": 6}
    assert model.judged == []


def test_a_store_is_judged_in_pieces(model, shards):
    run(judged(model, shards, judge=None))
    other = judged_by(model, shards, "second")
    assert [counts(run(other, limit=4)).get("judged", 0) for _ in range(3)] == [4, 2, 0]


@pytest.mark.parametrize(
    ("sections", "why"),
    [
        ({"judge": None}, "judge: missing"),
        ({"output": {"uri": "elsewhere"}}, "output.uri: judgements stand in the rows"),
        ({"input": {"store": "store", "uri": "shards"}}, "store: stands in place of uri"),
    ],
)
def test_a_job_over_a_store_judges_it_in_place(tmp_path, sections, why):
    task = {"name": "t", "input": {"store": "store"}, "output": {"uri": "store"}, "judge": {}}
    with pytest.raises(ValueError, match=why):
        Job.model_validate({**task, **sections})


def test_a_job_over_a_store_takes_no_selection_of_records(model, shards):
    run(judged(model, shards, judge=None))
    with pytest.raises(ConfigError, match="--only, --retry"):
        run(judged_by(model, shards, "second"), only=["paper_id=paper-0"])


# On a cluster.


def test_stored_and_new_answers_are_judged_on_a_cluster(model, shards, ray_cluster):
    run(judged(model, shards, judge=None))
    write_jsonl(shards / "b.jsonl", rows(range(6, 9)))
    document = run_on_cluster(judged(model, shards))
    assert document["counts"]["judged"] == 9
    assert document["counts"]["judged_again"] == 6
    assert all(found == [(RATER, "yes")] for found in verdicts(shards).values())
    assert document["status"] == "done"


# What is wrong before a run.


@pytest.mark.parametrize("kind", ["extractive", "recorded"])
def test_a_judge_needs_a_model(shards, kind):
    task = job(shards, shards.parent / "store", engine={"kind": kind}, judge={})
    with pytest.raises(ConfigError, match="judge: needs a model that judges"):
        prepare(task)


@pytest.mark.parametrize(
    ("text", "front", "why"),
    [
        ("{{ passages }}", "name: n\nversion: 1", r"judge.md:5: no field 'passages'"),
        ("{{ answr }}", "name: n\nversion: 1", r"did you mean 'answer'"),
        ("Is it?", "name: n\nversion: 1\nsystem: Be brief.", r"leave system out"),
        ("{{ answer.x.y }}", "name: n\nversion: 1", r"judge.md:5"),
        ("{% if %}", "name: n\nversion: 1", r"judge.md:5"),
    ],
)
def test_a_judge_template_is_checked_before_anything_starts(model, shards, text, front, why):
    path = template(shards.parent, text, front)
    with pytest.raises(ConfigError, match=why):
        prepare(judged(model, shards, judge={"template": path}))


def test_a_job_file_names_its_choices_without_quotes(tmp_path, shards, model):
    path = job_file(tmp_path / "job.yaml", judged(model, shards, judge=None))
    path.write_text(path.read_text() + "judge:\n  choices: [yes, no, unsure]\n  when: always\n")
    judge = load_job(path).judge
    assert judge
    assert judge.choices == ["yes", "no", "unsure"]
    with pytest.raises(ConfigError, match="at least 2 items"):
        load_job(path, ["judge.choices=['yes']"])


def test_a_judgement_has_the_fields_of_the_store():
    from pipeline.store.schema import JUDGEMENTS

    struct = JUDGEMENTS.value_type
    assert tuple(struct.field(n).name for n in range(struct.num_fields)) == Judgement._fields


# What people see.


def test_plan_counts_verdicts_and_estimates_their_tokens(model, shards, command):
    run(judged(model, shards, judge=None))
    write_jsonl(shards / "b.jsonl", rows(range(6, 9)))
    file = job_file(shards.parent / "job.yaml", judged(model, shards))
    done = command("plan", file, "--json")
    document = json.loads(done.stdout)
    assert (document["to_judge"], document["verdicts"]) == (6, 9)
    assert document["estimated_judge_tokens"] == 9 * (document["estimated_judge_tokens"] // 9) > 0
    assert "6 to judge" in done.stderr
    assert "judge: at most 9 verdicts" in done.stderr
    assert json.loads(command("plan", file, "judge=null", "--json").stdout)["verdicts"] == 0


def test_plan_of_a_job_over_a_store_counts_its_answers(model, shards, command):
    run(judged(model, shards, judge=None))
    file = job_file(shards.parent / "job.yaml", judged_by(model, shards, "second"))
    document = json.loads(command("plan", file, "--json", "--limit", 4).stdout)
    assert {n: document[n] for n in ("read", "current", "work", "to_judge", "verdicts")} == {
        **dict.fromkeys(("read", "current"), 6),
        **dict.fromkeys(("to_judge", "verdicts"), 4),
        "work": 0,
    }


def test_preview_shows_the_verdict(model, shards, command):
    file = job_file(shards.parent / "job.yaml", judged(model, shards))
    (first, *_) = json.loads(command("preview", file, "--json").stdout)["records"]
    assert [j["value"] for j in first["judgements"]] == ["yes"]
    assert f"yes, by {RATER}" in command("preview", file).stderr
    store = job_file(shards.parent / "other.yaml", judged_by(model, shards, "second"))
    (shards.parent / "store/answers").mkdir(parents=True, exist_ok=True)
    run(judged(model, shards))
    assert "a preview answers records" in command("preview", store).stderr


def test_doctor_names_the_judge_and_what_it_has_to_do(model, shards):
    run(judged(model, shards, judge=None))
    checks = islice(diagnose(judged_by(model, shards, "second")), 7)
    said = {diagnosis.name: diagnosis.message for diagnosis in checks}
    assert said["template"].endswith("; judge:answers@1:second")
    assert said["records"] == "6 answers in the store, 6 of them to judge"


def test_the_run_file_says_which_judge_it_was(model, shards):
    document = run(judged(model, shards))
    assert document["judge"]["rater"] == RATER
    assert document["judge"]["choices"] == ["yes", "no", "unsure"]
    assert document["judge"]["body"].startswith("Does that answer the question?")
    assert run(judged(model, shards, judge=None))["judge"] is None
