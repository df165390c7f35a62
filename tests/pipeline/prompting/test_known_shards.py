"""What is known of an unchanged shard spares work, and never changes what a plan or a run does."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.schema import Job
from pipeline.core.filesystem import Storage
from pipeline.prompting import known_shards, render
from pipeline.reading import source, whole_shards
from pipeline.runs.plan import WorkPlan
from pipeline.store.shard_keys import KEYS_FOLDER, ShardKeys
from tests.support.jobs import (
    BETTER_PROMPT,
    counts,
    job,
    plan,
    rows,
    run,
    run_on_cluster,
    write_jsonl,
)

SHARDS, RECORDS = 3, 4


@pytest.fixture(autouse=True)
def even_small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_shards, "SMALL_SHARD_BYTES", 0)


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of all records that are rendered from here on."""
    ids: list[str] = []
    of = render.prompt_of

    def prompt_of(record: Any, *rest: Any) -> Any:
        ids.append(record.record_id)
        return of(record, *rest)

    monkeypatch.setattr(render, "prompt_of", prompt_of)
    return ids


@dataclass
class World:
    """A folder with shards, a store and a template of its own, and the sections of its job."""

    folder: Path
    sections: dict[str, Any] = field(default_factory=dict)
    selected: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for shard in range(SHARDS):
            numbers = range(shard * RECORDS, (shard + 1) * RECORDS)
            lines = [{**row, "doi": f"10.5555/{n}"} for n, row in enumerate(rows(numbers))]
            self.write(f"{shard}", lines)
        shutil.copy(BETTER_PROMPT, self.template)
        run(self.job)

    @property
    def template(self) -> Path:
        return self.folder / "template.md"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def job(self) -> Job:
        return job(
            self.folder / "shards",
            self.store,
            **{
                "engine": {"kind": "recorded"},
                "prompt": str(self.template),
                "failure_budget": 1.0,
                "reject_budget": 1.0,
                **self.sections,
            },
        )

    def shard(self, name: str) -> Path:
        return self.folder / f"shards/{name}.jsonl"

    def read(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.shard(name).read_text().splitlines()]

    def write(self, name: str, lines: list[Any]) -> None:
        write_jsonl(self.shard(name), lines)

    def key_files(self) -> list[Path]:
        return sorted((self.store / KEYS_FOLDER).glob("*.parquet"))


def edit_a_passage(world: World) -> None:
    first, *rest = world.read("1")
    passage = {**first["passages"][0], "text": first["passages"][0]["text"] + "!"}
    world.write("1", [{**first, "passages": [passage]}, *rest])


def edit_a_carried_column(world: World) -> None:
    first, *rest = world.read("1")
    world.write("1", [{**first, "doi": "10.5555/other"}, *rest])


def add_a_shard(world: World) -> None:
    world.write("00", rows(range(100, 103)))


def add_one_that_shares_an_id(world: World) -> None:
    world.write("3", [{**rows([200])[0], "record_id": world.read("0")[1]["record_id"]}])


def copy_a_shard(world: World) -> None:
    shutil.copy(world.shard("1"), world.shard("4"))


def remove_a_shard(world: World) -> None:
    world.shard("2").unlink(missing_ok=True)


def exchange_two(world: World) -> None:
    one, other = world.read("0"), world.read("1")
    world.write("0", other)
    world.write("1", one)


def add_a_reject(world: World) -> None:
    world.write("0", [*world.read("0"), {"record_id": "empty"}])


def repeat_an_id(world: World) -> None:
    first, second, *rest = world.read("0")
    world.write("0", [first, {**second, "record_id": first["record_id"]}, *rest])


def edit_the_template(world: World) -> None:
    world.template.write_text(world.template.read_text().replace("passages", "pieces of text", 1))


def set_a_section(name: str, value: Any) -> Callable[[World], None]:
    def change(world: World) -> None:
        world.sections[name] = value

    change.__name__ = f"set_{name}"
    return change


def select(**selected: Any) -> Callable[[World], None]:
    def change(world: World) -> None:
        world.selected = selected

    change.__name__ = f"select_{next(iter(selected), 'all')}"
    return change


def lose_answers(world: World) -> None:
    min((world.store / "answers").glob("part-*")).unlink()


def damage_keys(world: World) -> None:
    for file in world.key_files()[::2]:
        file.write_bytes(file.read_bytes()[:-40] + b"\0" * 40)


def exchange_keys(world: World) -> None:
    files = world.key_files()
    contents = [file.read_bytes() for file in files]
    for file, data in zip(files, contents[1:] + contents[:1], strict=True):
        file.write_bytes(data)


def nothing(world: World) -> None:
    """No edit."""


def set_carry(*names: str) -> Callable[[World], None]:
    def change(world: World) -> None:
        world.sections["output"] = {"uri": str(world.store), "rows_per_file": 3, "carry": [*names]}

    change.__name__ = f"carry_{len(names)}"
    return change


EDITS: list[Callable[[World], None]] = [
    nothing,
    edit_a_passage,
    edit_a_carried_column,
    add_a_shard,
    add_one_that_shares_an_id,
    copy_a_shard,
    remove_a_shard,
    exchange_two,
    add_a_reject,
    repeat_an_id,
    edit_the_template,
    set_a_section("answer", {"max_words": 80}),
    set_a_section("checks", {"word_count": "label"}),
    set_a_section("engine", {"kind": "extractive"}),
    set_carry("doi"),
    set_carry("doi", "venue"),
    select(only=["paper_id=paper-1"]),
    select(limit=2),
    select(retry=["failed"]),
    select(),
    lose_answers,
    damage_keys,
    exchange_keys,
]


def said(made: WorkPlan) -> dict[str, Any]:
    """What a plan says of the input and the work, but for where its time went."""
    totals = made.totals
    return {
        "standings": dict(totals.standings),
        "sums": dict(totals.sums),
        "carried": dict(totals.carried),
        "work": dict(made.records),
        "tokens": dict(made.prompt_tokens),
        "ids": dict(made.ids),
        "to_fill_in": made.to_fill_in,
    }


@settings(max_examples=20)
@given(st.lists(st.sampled_from(EDITS), min_size=1, max_size=5))
def test_a_plan_says_the_same_with_and_without_keys_whatever_was_edited(edits):
    with TemporaryDirectory() as folder:
        world = World(Path(folder))
        for edit in edits:
            edit(world)
            with_keys = plan(world.job, **world.selected)
            hidden = (world.store / KEYS_FOLDER).rename(world.folder / "hidden")
            assert said(with_keys) == said(plan(world.job, **world.selected))
            hidden.rename(world.store / KEYS_FOLDER)
            made = run(world.job, **world.selected)
            expected = with_keys.totals.standings["work"]
            assert made["counts"]["answered"] + made["counts"]["failed"] == expected
            assert made["counts"]["read"] == with_keys.totals.read
            assert made["counts"]["filled_in"] <= with_keys.to_fill_in


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize(
    ("edit", "read_again"),
    [
        (nothing, []),
        (set_a_section("checks", {"word_count": "label"}), []),
        (remove_a_shard, []),
        (edit_a_passage, ["1"]),
        (edit_the_template, ["0", "1", "2"]),
        (set_a_section("answer", {"max_words": 80}), ["0", "1", "2"]),
        (lambda world: world.key_files()[0].unlink(), 1),
    ],
)
def test_no_record_of_an_unchanged_shard_is_rendered(world, rendered, edit, read_again):
    edit(world)
    plan(world.job)
    if isinstance(read_again, int):
        assert len(rendered) == read_again * RECORDS
    else:
        ids = [row["record_id"] for name in read_again for row in world.read(name)]
        assert sorted(rendered) == sorted(ids)


def test_a_run_that_finds_nothing_to_do_renders_nothing(world, rendered):
    assert counts(run(world.job)) == {"read": 12, "current": 12}
    assert rendered == []


def test_a_run_keeps_the_keys_of_what_it_answered_for_the_next_one(world, rendered):
    edit_a_passage(world)
    run(world.job)
    rendered.clear()
    assert counts(run(world.job)) == {"read": 12, "current": 12}
    assert rendered == []


def test_a_plan_writes_no_keys(world):
    edit_a_passage(world)
    before = {file: file.read_bytes() for file in world.key_files()}
    plan(world.job)
    assert {file: file.read_bytes() for file in world.key_files()} == before


def test_a_shard_with_a_reject_is_read_each_time(world, rendered):
    add_a_reject(world)
    run(world.job)
    rendered.clear()
    plan(world.job)
    assert sorted(rendered) == sorted(row["record_id"] for row in world.read("0")[:-1])


@pytest.mark.parametrize("name", ["_code", "python_version", "version"])
def test_other_code_or_another_library_makes_all_shards_unknown(world, rendered, monkeypatch, name):
    monkeypatch.setattr(known_shards, name, lambda *_: "another")
    plan(world.job)
    assert len(rendered) == SHARDS * RECORDS


def test_each_job_of_a_store_has_keys_of_its_own(world, rendered):
    other = world.job.model_copy(update={"name": "other"})
    run(other)
    rendered.clear()
    assert counts(run(world.job)) == counts(run(other)) == {"read": 12, "current": 12}
    assert rendered == []


def test_a_store_that_takes_no_keys_costs_time_alone(world, rendered):
    shutil.rmtree(world.store / KEYS_FOLDER)
    (world.store / KEYS_FOLDER).write_text("a file where the folder should be")
    edit_a_passage(world)
    assert counts(run(world.job)) == {"read": 12, "current": 11, "answered": 1}
    assert len(rendered) == SHARDS * RECORDS


def test_a_run_that_is_stopped_while_it_reads_keeps_no_half_of_a_shard(
    world, monkeypatch, rendered
):
    monkeypatch.setattr(source, "BLOCK_RECORDS", 2)
    shutil.rmtree(world.store / KEYS_FOLDER)
    stops = iter([False] * 6)
    monkeypatch.setattr("pipeline.flow._enough", lambda *_: next(stops, True))
    run(world.job)
    kept = len(world.key_files())
    monkeypatch.undo()
    monkeypatch.setattr(whole_shards, "SMALL_SHARD_BYTES", 0)
    assert kept < SHARDS
    assert counts(run(world.job)) == {"read": 12, "current": 12}


def forget_one_record(world: World) -> None:
    """Has the keys of one shard say that it has a record less, which no run would find."""
    place = Storage().at(str(world.key_files()[0]))
    known = ShardKeys.read(place)
    assert known is not None
    replace(known, rows=known.rows.slice(1)).write(place)


def test_a_cluster_goes_by_the_keys_too(tmp_path, monkeypatch, ray_cluster):
    monkeypatch.undo()  # workers have the sizes of every day
    world = World(tmp_path)
    assert world.key_files() == []
    padding = "Rain fell on most days of the survey. " * 8000
    lines = [{**row, "passages": [padding]} for row in rows(range(100, 104))]
    world.write("large", lines)
    assert counts(run_on_cluster(world.job)) == {"read": 16, "current": 12, "answered": 4}
    assert counts(run_on_cluster(world.job)) == {"read": 16, "current": 16}
    forget_one_record(world)
    assert counts(run_on_cluster(world.job)) == {"read": 15, "current": 15}


def test_keys_are_kept_in_an_object_store(tmp_path, rendered, moto_s3):
    storage = Storage(moto_s3.storage())
    bucket = storage.at("s3://known")
    bucket.fs.mkdir(bucket.path)
    bucket.fs.pipe_file("known/in/a.jsonl", "".join(map(_line, rows(range(5)))).encode())
    there = job(
        "s3://known/in", "s3://known/store", engine={"kind": "recorded"}, storage=moto_s3.storage()
    )
    run(there)
    rendered.clear()
    assert counts(run(there)) == {"read": 5, "current": 5}
    assert rendered == []


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row) + "\n"
