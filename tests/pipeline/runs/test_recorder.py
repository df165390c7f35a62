"""How a run's end is recorded, and who hears of it."""

import json

import pytest

from pipeline.core.accounting import Totals
from pipeline.core.errors import AccountingError, StorageError
from pipeline.core.filesystem import Storage
from pipeline.runs.recorder import EXIT_CODES, RunRecorder
from pipeline.runs.shutdown import ShutdownTimeout
from pipeline.store.run_file import RunFile
from tests.support.jobs import job

PROMPT = {"name": "n", "version": "1", "system": "", "body": "b"}


@pytest.fixture
def file(tmp_path) -> RunFile:
    return RunFile.new(Storage().at(str(tmp_path)), job("in", tmp_path), PROMPT)


def recorded(file: RunFile) -> dict:
    return json.loads(file.store.fs.cat_file(f"{file.store.path}/runs/{file.run_id}/run.json"))


def counted(read: int, answered: int, failed: int = 0) -> Totals:
    made = Totals()
    made.sums["read"] = read
    made.standings.update(answered=answered, failed=failed)
    return made


@pytest.mark.parametrize(("failed", "status"), [(0, "done"), (1, "over_budget")])
def test_a_run_that_ends_by_itself_is_done_or_over_its_budget(file, failed, status):
    ended = []
    with RunRecorder(file, counted(10, 10 - failed, failed), ended.append) as record:
        assert recorded(file)["status"] == "running"
    assert recorded(file) == record.document == ended[0]
    assert record.document["status"] == status


def test_an_interruption_is_recorded_and_is_no_error(file):
    with RunRecorder(file, counted(10, 4)) as record:
        raise KeyboardInterrupt
    assert record.document["status"] == "interrupted"
    assert record.document["counts"]["read"] == 4  # the rest is for the next run to read


def test_a_run_that_was_told_to_end_is_interrupted_whatever_it_left(file):
    with RunRecorder(file, counted(10, 4)) as record:
        record.shutdown.request("signal", 0)
    assert (record.document["status"], record.document["counts"]["read"]) == ("interrupted", 4)


@pytest.mark.parametrize("reason", ["deadline", "budget"])
def test_a_run_that_ends_by_itself_before_its_input_is_done_is_stopped(file, reason):
    with RunRecorder(file, counted(10, 4)) as record:
        record.shutdown.request(reason, 0)
    ended = record.document
    assert (ended["status"], ended["stopped_by"], ended["counts"]["read"]) == ("stopped", reason, 4)
    assert EXIT_CODES[ended["status"]] == 0


def test_a_stopped_run_that_has_not_ended_in_its_time_is_stopped_all_the_same(file):
    with RunRecorder(file, counted(10, 4)) as record:
        record.shutdown.request("deadline", 0)
        raise ShutdownTimeout
    assert (record.document["status"], record.document["stopped_by"]) == ("stopped", "deadline")


@pytest.mark.parametrize("error", [KeyboardInterrupt, None])
def test_a_signal_while_a_run_ends_by_itself_interrupts_it(file, error):
    with RunRecorder(file, counted(10, 4)) as record:
        record.shutdown.request("deadline", 0)
        if error:
            raise error
        record.shutdown.request("signal", 0)
    assert (record.document["status"], record.document["stopped_by"]) == ("interrupted", "signal")


def test_an_error_is_recorded_and_raised(file):
    ended = []
    with (
        pytest.raises(StorageError, match="no such bucket"),
        RunRecorder(file, counted(10, 4), ended.append),
    ):
        raise StorageError("s3://x: no such bucket")
    assert recorded(file) == ended[0]
    assert (ended[0]["status"], ended[0]["error"]) == ("failed", "s3://x: no such bucket")


def test_records_that_are_read_and_not_accounted_for_fail_the_run(file):
    with pytest.raises(AccountingError), RunRecorder(file, counted(10, 4)):
        pass
    assert recorded(file)["status"] == "failed"


def test_a_store_that_takes_no_run_file_fails_the_run_and_that_is_told(file, monkeypatch):
    def refuses(*_: object) -> None:
        raise StorageError("s3://x: forbidden")

    monkeypatch.setattr(RunFile, "write", refuses)
    ended = []
    with pytest.raises(StorageError, match="forbidden"), RunRecorder(file, None, ended.append):
        pytest.fail("it never begins")
    assert [document["status"] for document in ended] == ["failed"]
