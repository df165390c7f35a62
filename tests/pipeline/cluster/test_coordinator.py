"""The coordinator adds up what tasks and replicas report, and knows which replicas live."""

import pytest

from pipeline.cluster import coordinator
from pipeline.cluster.coordinator import Coordinator, Process, Replica
from pipeline.cluster.counters import EngineCounts, StageCounts


def replica(pid: int, state="answering") -> Replica:
    return Replica("10.0.0.1", "node", pid, "0", state, "")


def worked(run: Coordinator, pid: int, counts: EngineCounts) -> None:
    run.state(replica(pid))
    run.heartbeat(Process("node", pid), counts, False)


def test_the_counts_of_tasks_and_replicas_add_up():
    run = Coordinator(replicas=2)
    run.counted(StageCounts(read=10, work=8))
    run.counted(StageCounts(read=5, arranged=3))
    worked(run, 1, EngineCounts(asked=9, answered=4, failed=1))
    worked(run, 2, EngineCounts(asked=4, answered=1))
    worked(run, 1, EngineCounts(asked=9, answered=5, failed=1))
    counts = run.counts()
    assert counts.stages == StageCounts(read=15, work=8, arranged=3)
    assert counts.engines == EngineCounts(asked=13, answered=6, failed=1)
    assert (counts.in_engines, counts.replicas) == (3 + 3, {"answering": 2})


def test_the_records_of_a_lost_replica_are_no_longer_in_the_engines():
    run = Coordinator(replicas=2)
    for pid in (1, 2):
        worked(run, pid, EngineCounts(asked=10))
    run.heartbeat(Process("node", 2), EngineCounts(asked=10, answered=1), False)
    worked(run, 3, EngineCounts(asked=7))  # replaces 1, which is silent
    assert (run.counts().in_engines, run.counts().replicas) == (9 + 7, {"answering": 2})


def test_a_replica_that_was_merely_silent_is_back_with_its_next_heartbeat():
    run = Coordinator(replicas=2)
    for pid in (1, 2, 3):
        worked(run, pid, EngineCounts(asked=pid))
    assert run.counts().in_engines == 2 + 3
    run.heartbeat(Process("node", 1), EngineCounts(asked=1), False)
    assert run.counts().in_engines == 1 + 3


def test_a_replica_at_work_without_heartbeats_counts_as_lost(monkeypatch):
    run = Coordinator(replicas=2)
    worked(run, 1, EngineCounts(asked=4))
    run.state(replica(2, "loading"))
    monkeypatch.setattr(coordinator, "SILENT_SECONDS", -1.0)
    assert (run.counts().in_engines, run.counts().replicas) == (0, {"loading": 1})


def test_a_query_changes_nothing_and_a_heartbeat_says_when_the_run_ends():
    run = Coordinator(replicas=1)
    worked(run, 1, EngineCounts())
    before = [run.counts(), run.replicas()]
    assert run.seconds_left() is None
    assert [run.counts(), run.replicas()] == before
    run.end(10)
    assert 9 < run.heartbeat(Process("node", 1), EngineCounts(), False) <= 10
    assert 9 < run.seconds_left() <= 10


def test_a_replica_may_begin_a_batch_from_a_heartbeat_until_it_says_that_it_stops():
    run = Coordinator(replicas=4)
    for pid in (1, 2, 3):
        run.state(replica(pid, "placed"))
    for pid in (1, 2):
        assert run.heartbeat(Process("node", pid), EngineCounts(), False) is None
    assert run.counts().may_begin == 2
    run.end(10)
    asked = EngineCounts(asked=1)
    assert run.heartbeat(Process("node", 3), EngineCounts(), False) is not None  # it begins none
    run.heartbeat(Process("node", 1), asked, False)  # sent before it heard
    assert run.counts().may_begin == 2
    for pid in (1, 2):
        run.heartbeat(Process("node", pid), asked, True)
    assert (run.counts().may_begin, run.counts().in_engines) == (0, 2)


def test_work_is_known_as_soon_as_a_task_has_counted_any():
    run = Coordinator(replicas=1)
    run.counted(StageCounts(read=9, current=9))
    assert not run.has_work()
    run.counted(StageCounts(read=1, work=1))
    assert run.has_work()


def test_deaths_are_counted_until_a_batch_is_answered_to_its_end():
    run = Coordinator(replicas=2)
    assert [run.state(replica(n, "placed")) for n in range(2)] == [0, 0]
    assert [run.state(replica(n, "placed")) for n in range(2, 5)] == [1, 2, 3]
    run.heartbeat(Process("node", 4), EngineCounts(asked=9, answered=8), False)
    assert run.state(replica(4, "loading")) == 3
    run.heartbeat(Process("node", 4), EngineCounts(asked=9, answered=9, batches=1), False)
    assert run.counts().replicas["answering"] == 1
    assert run.state(replica(5, "placed")) == 1


@pytest.mark.parametrize(("state", "grows"), [("placed", True), ("answering", False)])
def test_a_replica_at_work_held_its_gpus_until_it_was_last_heard_from(state, grows, monkeypatch):
    run = Coordinator(replicas=1)
    clock = iter([100.0, 160.0])
    monkeypatch.setattr(coordinator.time, "monotonic", lambda: next(clock))
    run.state(replica(1, state))
    (listed,) = run.replicas()
    assert listed.seconds == (60.0 if grows else 0.0)
