"""What can be seen of a run before anything of it is stored."""

import pytest

from pipeline.answering.prepare import prepare
from pipeline.cluster.ray_data import RayData
from pipeline.run.execute import execute
from pipeline.run.progress import RunProgress, StageName
from tests.support.jobs import rows, write_jsonl
from tests.support.scripted import scripted, scripted_job

RECORDS = 40


@pytest.fixture(scope="module")
def seen(
    ray_cluster, tmp_path_factory
) -> tuple[dict, list[tuple[RunProgress, dict[StageName, int]]]]:
    """A run whose every table waits for its slow half; and what was shown of it."""
    folder = tmp_path_factory.mktemp("watch")
    write_jsonl(folder / "shards/a.jsonl", [*rows(range(RECORDS)), {"record_id": "empty"}])
    views: list[tuple[RunProgress, dict[StageName, int]]] = []
    with scripted(slow_seconds=2.5) as url:
        night = scripted_job(url, folder / "shards", folder / "store", RECORDS, "watched")
        look = lambda view: views.append((view, view.stages))  # noqa: E731
        document = execute(prepare(night), RayData(night.engine), [look])
    return document, views


def test_every_stage_is_seen_while_nothing_is_stored(seen):
    """Papers are brought together before an engine gets any: that too is to be seen."""
    _, views = seen
    waiting = [(view, stages) for view, stages in views if not stages["stored"]]
    reached = {stage: max(stages[stage] for _, stages in waiting) for stage in waiting[0][1]}
    assert (reached["read"], reached["work"], reached["arranged"]) == (
        RECORDS + 1,
        RECORDS,
        RECORDS,
    )
    assert 0 < reached["answered"] < RECORDS
    assert reached["in_engines"]
    assert any(view.rates.done and view.seconds_left for view, _ in waiting)


def test_replicas_are_seen_by_how_far_they_have_got(seen):
    _, views = seen
    assert {state for view, _ in views for state in view.counts.replicas} >= {"ready"}
    assert all(sum(view.counts.replicas.values()) <= 1 for view, _ in views)


def test_in_the_end_signs_of_an_undisturbed_run_agree_with_the_accounting(seen):
    document, views = seen
    view, stages = views[-1]
    engines, counts, sums = view.counts.engines, document["counts"], document["sums"]
    assert (engines.asked, view.counts.in_engines) == (RECORDS, 0)
    assert (engines.answered, engines.failed) == (counts["answered"], counts["failed"]) == (38, 2)
    assert view.counts.stages.read == counts["read"]
    assert view.counts.stages.rejected == counts["rejected"] == 1
    assert engines.repairs == sums["repairs"] == 2 * 2 + 6
    for kind in ("prompt_tokens", "cached_tokens", "completion_tokens"):
        assert getattr(engines, kind) == sums[kind] > 0
    assert stages["stored"] == RECORDS
    assert (view.phase, view.share, view.seconds_left) == ("answering", 1.0, 0.0)
