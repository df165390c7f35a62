"""`overnight agreement`: tables for people, a document for programs, a file for spreadsheets."""

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.store.corrections import add_corrections
from tests.support.answers import answer_row, write_answers
from tests.support.corrections import correction
from tests.support.jobs import job, job_file

HOSTILE = "[red]\x1b[2Jstork"


@pytest.fixture
def job_path(tmp_path) -> Path:
    """A job with two models' answers to 24 records, and a person who has looked at some."""
    rows = [
        answer_row(f"p{n // 4}_Q{n % 4}", model=model, stance=stance)
        for n in range(24)
        for model, stance in [
            ("heron", "abstained" if n % 3 else "answered"),
            (HOSTILE, "abstained" if n % 5 else "hedged"),
        ]
    ]
    store = write_answers(tmp_path / "store", rows)
    add_corrections(store, [correction(f"p{n // 4}_Q{n % 4}", "yes") for n in range(6)])
    add_corrections(store, [correction("p5_Q0", "yes", answer="Nine.")])
    return job_file(tmp_path / "job.yaml", job("shards", tmp_path / "store"))


def test_people_read_tables_that_name_the_conversion(command, job_path):
    done = command("agreement", job_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert "answered is yes, hedged and abstained are no (hedged=no)" in done.stderr
    for said in ("human:ana", "all 2 models", "majority of models", "Q3", "1 correction left out"):
        assert said in done.stderr
    assert "\x1b[2J" not in done.stderr
    assert "[red]" in done.stderr


def test_programs_read_every_figure(command, job_path):
    document = json.loads(command("agreement", job_path, "--json").stdout)
    assert document["conversion"]["name"] == "hedged=no"
    assert (document["records"], document["answers"], document["papers"]) == (24, 48, 6)
    pair = next(p for p in document["pairs"] if "human:ana" in p["raters"])
    assert pair["raters"] == ["model:heron", "human:ana"]
    assert (pair["n"], pair["agreement"]["value"]) == (6, pytest.approx(1 / 3))
    assert [q["question"] for q in pair["questions"]] == ["Q0", "Q1", "Q2", "Q3"]
    assert sum(q["n"] for q in pair["questions"]) == 6
    by_stance = json.loads(
        command("agreement", job_path, "--conversion", "hedged=yes", "--json").stdout
    )
    assert by_stance["raters"][0]["yes"] != document["raters"][0]["yes"]


def test_the_same_command_gives_the_same_figures_and_another_seed_other_intervals(
    command, job_path
):
    once, again, other = (
        command("agreement", job_path, "--json", "--seed", seed).stdout for seed in (1, 1, 2)
    )
    assert once == again != other


@pytest.mark.parametrize("ending", ["csv", "xlsx", "parquet", "jsonl"])
@pytest.mark.parametrize(("wide", "rows"), [((), 48 + 6), (("--wide",), 24)])
def test_what_raters_say_is_written_long_or_wide(command, job_path, tmp_path, ending, wide, rows):
    to = tmp_path / f"out.{ending}"
    document = json.loads(command("agreement", job_path, "--to", to, *wide, "--json").stdout)
    assert (document["to"], document["rows"]) == (str(to), rows)
    if ending == "parquet":
        assert pq.read_table(to).num_rows == rows
    if ending == "csv":
        with to.open(encoding="utf-8-sig", newline="") as file:
            assert len(list(csv.DictReader(file))) == rows


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--raters", "hern"), "no such rater in the store; did you mean 'heron'?"),
        (("--raters", "judge"), "two raters, and there is no rater; let another model"),
        (("--conversion", "stance"), "--conversion stance: not known"),
        (("--wide",), "--wide: says how --to writes its file; add --to FILE"),
        (("--to", "x.txt"), "no format for '.txt'"),
        (("output.uri=nowhere",), "no store there"),
    ],
)
def test_what_is_wrong_is_said_in_two_lines_and_ends_with_2(command, job_path, options, said):
    done = command("agreement", job_path, *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
