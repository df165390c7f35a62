"""A user's own file, without a converter: what is said of its columns, and its answers."""

import pytest

from pipeline.config.loading import load_job
from pipeline.core.errors import ConfigError
from pipeline.runs.doctor import _records
from tests.support.jobs import counts, job, job_file, run, stored
from tests.support.tables import FORMATS

ROWS = [
    {
        "doi": f"10.5555/kelp.{paper}",
        "title": f"Kelp, part {paper}",
        "query": f"How many herons nested at pond {n}?",
        "contexts": [f"At pond {n} we counted {n + 3} herons.", "Rain fell."],
    }
    for paper in range(5)
    for n in range(4)
]
FIELDS = ["input.fields.paper_id=doi", "input.fields.question=query"]
ALL_FIELDS = [*FIELDS, "input.fields.passages=contexts"]


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_a_file_of_one_s_own_is_answered_once_its_columns_are_named(command, tmp_path, ending):
    (path := tmp_path / f"mine.{ending}").write_bytes(FORMATS[ending](ROWS))
    task = job_file(tmp_path / "job.yaml", job(path, tmp_path / "store"))

    unnamed = command("plan", task)
    assert '20 records: no "question"; the record has doi, title, query, contexts' in _flat(unnamed)
    assert "name it: input.fields.question" in _flat(unnamed)
    with pytest.raises(ConfigError, match=r"name it: input\.fields\.passages"):
        _records(load_job(task, FIELDS))

    named = command("plan", task, *ALL_FIELDS)
    assert "input.fields" not in named.stderr
    one = run(load_job(task, ALL_FIELDS), only=["doi=10.5555/kelp.3", "title=Kelp, part 3"])
    assert counts(one) == {"read": 4, "answered": 4}
    assert counts(run(load_job(task, ALL_FIELDS))) == {"read": 20, "answered": 16, "current": 4}
    papers = stored(tmp_path / "store")["paper_id"].to_pylist()
    assert sorted(papers) == sorted(row["doi"] for row in ROWS)


def _flat(done):
    return " ".join(done.stderr.split())
