"""Progress of a run can be seen before anything is stored."""

from collections import Counter

import pytest

from pipeline.answering.prepare import prepare
from pipeline.cluster.counters import EngineCounts, RunCounts
from pipeline.cluster.ray_data import RayData
from pipeline.core.accounting import Totals
from pipeline.runs.execute import execute
from pipeline.runs.monitor import Monitor
from pipeline.runs.progress import InputBounds, RunProgress, StageName
from tests.support.jobs import rows, write_jsonl
from tests.support.scripted import scripted, scripted_job

RECORDS = 40


@pytest.fixture(scope="module")
def seen(
    ray_cluster, tmp_path_factory
) -> tuple[dict, list[tuple[RunProgress, dict[StageName, int]]]]:
    """A run in which every batch waits for its slow half, with all progress that was shown."""
    folder = tmp_path_factory.mktemp("watch")
    write_jsonl(folder / "shards/a.jsonl", [*rows(range(RECORDS)), {"record_id": "empty"}])
    shown: list[tuple[RunProgress, dict[StageName, int]]] = []
    with scripted(slow_seconds=2.5) as url:
        task = scripted_job(url, folder / "shards", folder / "store", RECORDS, "watched")
        look = lambda progress: shown.append((progress, progress.stages))  # noqa: E731
        document = execute(prepare(task), RayData(task.engine), [look])
    return document, shown


def test_every_stage_is_seen_while_nothing_is_stored(seen):
    """Papers are brought together before an engine gets any; that is seen too."""
    _, shown = seen
    waiting = [(progress, stages) for progress, stages in shown if not stages["stored"]]
    reached = {stage: max(stages[stage] for _, stages in waiting) for stage in waiting[0][1]}
    assert (reached["read"], reached["work"], reached["arranged"]) == (
        RECORDS + 1,
        RECORDS,
        RECORDS,
    )
    assert 0 < reached["answered"] < RECORDS
    assert reached["in_engines"]
    assert any(progress.rates.done and progress.seconds_left for progress, _ in waiting)


def test_the_states_of_replicas_are_seen(seen):
    _, shown = seen
    assert {state for progress, _ in shown for state in progress.counts.replicas} >= {"ready"}
    assert all(sum(progress.counts.replicas.values()) <= 1 for progress, _ in shown)


def test_the_last_progress_of_an_undisturbed_run_agrees_with_the_accounting(seen):
    document, shown = seen
    progress, stages = shown[-1]
    engines, counts, sums = progress.counts.engines, document["counts"], document["sums"]
    assert (engines.asked, progress.counts.in_engines) == (RECORDS, 0)
    assert (engines.answered, engines.failed) == (counts["answered"], counts["failed"]) == (38, 2)
    assert progress.counts.stages.read == counts["read"]
    assert progress.counts.stages.rejected == counts["rejected"] == 1
    assert engines.repairs == sums["repairs"] == 2 * 2 + 6
    for kind in ("prompt_tokens", "cached_tokens", "completion_tokens"):
        assert getattr(engines, kind) == sums[kind] > 0
    assert stages["stored"] == RECORDS
    assert (progress.phase, progress.share, progress.seconds_left) == ("answering", 1.0, 0.0)


def test_nobody_is_asked_whether_all_is_stored_while_it_surely_is_not():
    """At the end of a run a thousand replicas hand back ten thousand batches."""
    totals, asked = Totals(), Counter[str]()

    def counts(_: RunCounts) -> RunCounts:
        asked["counts"] += 1
        return RunCounts(engines=EngineCounts(asked=30, answered=30))

    monitor = Monitor(InputBounds(0), totals, counts, [])
    with monitor.watching():
        pass  # looks once
    for stored in range(1, 31):
        monitor.add(Totals(Counter(answered=1)))
        assert monitor.is_all_stored() == (stored == 30)
    assert asked["counts"] == 2
