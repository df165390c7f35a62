"""A user's own file as it is: fields, carried columns, a choice, own checks, and exports."""

import base64
import csv
import gzip
import json
import re
import runpy
from pathlib import Path
from typing import Any

import openpyxl
import orjson
import pyarrow.parquet as pq
import pytest

from pipeline.config.loading import load_job
from pipeline.config.schema import Job
from pipeline.core.filesystem import Storage
from pipeline.results.pages.run_page import write_report
from tests.support.jobs import ROOT, counts, run

QUESTIONS = ["drone", "ship", "camera", "kite"]
PAPERS = 5

JOB = """
name: mine
input:
  uri: {shards}
  fields: {{paper_id: doi, question: query, passages: contexts}}
prompt: conf/prompts/instructions-first.md
answer:
  choices: [drone, ship, unclear]
checks:
  told: {{pattern: drone|ship, level: label}}
  {check}: label
output:
  uri: {store}
  carry: [doi, title, year]
"""

OWN = '''"""The title is that of the paper."""

from pipeline.answering.checks import Finding, Subject


def test(subject: Subject) -> Finding:
    title = subject.extra["title"]
    return Finding(title.startswith("Survey"), title)
'''


def rows() -> list[dict[str, Any]]:
    return [
        {
            "doi": f"10.5555/survey.{paper}",
            "title": f'Survey "{paper}", by; all',
            "query": f"Was a {thing} used in the survey?",
            "contexts": [f"In the survey a {thing} was used.", "It lasted\nfour days."],
            "year": 2020 + paper,
        }
        for paper in range(PAPERS)
        for thing in QUESTIONS
    ]


def write(folder: Path, form: str) -> Path:
    path = folder / f"papers.{form}"
    if form == "jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows()))
        return path
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows()[0]))
        writer.writeheader()
        writer.writerows(row | {"contexts": json.dumps(row["contexts"])} for row in rows())
    return path


@pytest.fixture(params=["jsonl", "csv"])
def done(request: pytest.FixtureRequest, tmp_path: Path) -> Job:
    (tmp_path / "titled.py").write_text(OWN)
    shards, store = write(tmp_path, request.param), tmp_path / "store"
    text = JOB.format(shards=shards, store=store, check=tmp_path / "titled.py")
    (tmp_path / "job.yaml").write_text(text)
    job = load_job(tmp_path / "job.yaml")
    assert counts(run(job)) == {"read": 20, "answered": 20}
    assert counts(run(job)) == {"read": 20, "current": 20}
    return job


def exported(command: Any, job: Job, ending: str, *options: str) -> Path:
    folder = Path(job.output.uri).parent
    path = folder / f"answers.{ending}"
    ended = command("export", folder / "job.yaml", "--to", path, *options)
    assert ended.returncode == 0, ended.stderr
    return path


def test_doi_title_and_choice_stand_beside_each_other_in_every_export(done: Job, command):
    wanted = {
        (row["doi"], row["title"], row["year"], row["query"], expected)
        for row, expected in zip(
            rows(), ["drone", "ship", "unclear", "unclear"] * PAPERS, strict=True
        )
    }
    names = ("doi", "title", "year", "question", "answer")
    table = pq.read_table(exported(command, done, "parquet")).select(names).to_pylist()
    assert {tuple(row.values()) for row in table} == wanted
    with exported(command, done, "csv").open(encoding="utf-8-sig", newline="") as file:
        cells = {tuple(row[name] for name in names) for row in csv.DictReader(file)}
    assert cells == {(doi, title, str(year), *rest) for doi, title, year, *rest in wanted}
    header, *lines = openpyxl.load_workbook(exported(command, done, "xlsx")).active.values
    at = [header.index(name) for name in names]
    assert {tuple(line[i] for i in at) for line in lines} == wanted


def test_the_checks_of_ones_own_have_their_say(done: Job):
    found = pq.read_table(f"{done.output.uri}/answers", columns=["answer", "checks"]).to_pylist()
    passed = [
        {c["name"]: c["passed"] for c in row["checks"]} | {"is": row["answer"]} for row in found
    ]
    assert all(one["titled"] for one in passed)
    assert all(one["told"] == (one["is"] != "unclear") for one in passed)


def test_the_page_has_the_columns(done: Job):
    store = Storage().at(done.output.uri)
    run_id = max(Path(path).parts[-2] for path in store.join("runs").files())
    page = Path(write_report(store, done, run_id).path).read_text(encoding="utf-8")
    packed = re.findall(r'<script type="application/x-overnight"[^>]*>([^<]+)<', page)
    data = "".join(gzip.decompress(base64.b64decode(text)).decode() for text in packed)
    for row in rows():
        assert row["doi"] in data
        assert orjson.dumps(row["title"]).decode() in data


def test_the_notebook_of_the_docs_runs(ray_cluster, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / "docs/python.py"))
    shown = capsys.readouterr().out
    assert "3 answers in the store" in shown
