"""Jobs from Python: as mappings and files, with parts replaced, and errors as exceptions."""

import pytest
from rich.console import Console

from pipeline import preview, read_answers, run
from pipeline.core.errors import ConfigError
from tests.support.jobs import job, job_file, rows, write_jsonl


@pytest.fixture
def given(tmp_path):
    write_jsonl(tmp_path / "in/a.jsonl", rows(range(6)))
    return job(tmp_path / "in", tmp_path / "store").model_dump(mode="json")


def test_a_preview_gives_what_the_command_prints(given, tmp_path):
    document = preview(given, limit=2)
    assert [r["record_id"] for r in document["records"]] == [r["record_id"] for r in rows(range(2))]
    assert document["records"][0]["answer"]
    assert not (tmp_path / "store").exists()


def test_a_file_and_a_mapping_are_the_same_job(given, tmp_path):
    path = job_file(tmp_path / "job.yaml", job(tmp_path / "in", tmp_path / "store"))
    by_file, by_mapping = preview(path), preview(given)
    keys = [[r["generation_key"] for r in d["records"]] for d in (by_file, by_mapping)]
    assert keys[0] == keys[1]


def test_a_part_of_a_section_is_replaced_and_the_rest_stays(given):
    few = given | {"answer": {"max_words": 3, "frame": "###"}}
    (record,) = preview(few, limit=1, answer={"max_words": 30})["records"]
    assert record["completion"].startswith("###\n")
    assert len(record["answer"].split()) > 3


def test_only_some_records_are_answered(given):
    wanted = rows([3])[0]["record_id"]
    (record,) = preview(given, only={"record_id": wanted})["records"]
    assert record["record_id"] == wanted


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine": {"knd": "vllm"}}, "job: engine.knd: unknown key; did you mean 'kind'?"),
        ({"attempts": 0}, "job: attempts: input should be greater than 0"),
        ({"storage": {"secret": "x"}}, "a job file holds no secrets"),
    ],
)
def test_a_wrong_key_is_an_exception_that_names_it(given, changes, message):
    with pytest.raises(ConfigError) as error:
        preview(given, **changes)
    assert message in str(error.value)


def test_a_run_says_what_became_of_it(given, ray_cluster):
    quiet = Console(quiet=True)
    first, second = run(given, limit=4, console=quiet), run(given, console=quiet)
    assert (first.status, first.counts["answered"]) == ("done", 4)
    assert (second.counts["answered"], second.counts["current"]) == (2, 4)
    assert second.run_id != first.run_id
    assert second.answers().count_rows() == 6
    assert read_answers(given["output"]["uri"]).count_rows() == 6
