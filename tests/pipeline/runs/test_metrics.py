"""A run exports metrics to Prometheus, and the dashboard shows all of them."""

import json
import re
from itertools import combinations

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from pipeline.runs.metrics import COUNTERS, GAUGES
from tests.support.jobs import ROOT

DASHBOARD = json.loads((ROOT / "deploy/grafana/overnight.json").read_text())
PANELS = DASHBOARD["panels"]
RECORDS = 40
JOB_NAME = "shown"


@pytest.fixture(scope="module")
def exported(shown_run) -> list[Sample]:
    """The samples of the run."""
    families = (f for page in shown_run.metrics for f in text_string_to_metric_families(page))
    return [s for f in families for s in f.samples if s.labels.get("job_name") == JOB_NAME]


def values(samples: list[Sample], name: str, label: str) -> dict[str, float]:
    return {s.labels[label]: s.value for s in samples if s.name == f"ray_overnight_{name}"}


def test_counters_end_at_the_numbers_in_the_run_file(shown_run, exported):
    document = shown_run.document
    counts, sums = document["counts"], document["sums"]
    states = {state: counts[state] for state in ("answered", "failed", "rejected")}
    assert values(exported, "records_total", "state") == states
    assert states == {"answered": 38, "failed": 2, "rejected": 1}
    assert values(exported, "tokens_total", "kind") == {
        kind: sums[f"{kind}_tokens"] for kind in ("prompt", "cached", "completion")
    }
    assert values(exported, "checks_missed_total", "check") == document["checks_missed"]
    assert document["checks_missed"]["complete"] == 2
    assert values(exported, "repairs_total", "job_name") == {JOB_NAME: sums["repairs"]}


def test_gauges_show_what_the_terminal_showed_last(exported):
    stages = values(exported, "stage_records", "stage")
    assert (stages["read"], stages["stored"], stages["in_engines"]) == (RECORDS + 1, RECORDS, 0)
    assert values(exported, "passing_ratio", "job_name") == {JOB_NAME: pytest.approx(38 / 40)}
    assert values(exported, "cached_ratio", "job_name") == {JOB_NAME: pytest.approx(0.4)}
    assert values(exported, "left_seconds", "job_name") == {JOB_NAME: 0}
    (seconds,) = values(exported, "deadline_seconds", "job_name").values()
    assert 7.5 * 3600 < seconds < 8 * 3600
    assert values(exported, "replicas", "state")["answering"] == 1


def test_no_series_belongs_to_a_record_a_paper_or_a_run(exported):
    """Our labels, that is; Ray adds the process and the session."""
    ours = {"job_name", "state", "kind", "check", "stage"}
    rays = {"Component", "NodeAddress", "SessionName", "Version", "WorkerId"}
    assert {name for s in exported for name in s.labels if not name.startswith("otel_")} == {
        *ours,
        *rays,
    }


def test_the_dashboard_uses_every_exported_metric_and_no_other(exported):
    names = {f"ray_{metric.name}" for metric in (*COUNTERS, *GAUGES)}
    queried = set(re.findall(r"\bray_\w+", json.dumps(PANELS)))
    assert queried == names == {s.name for s in exported}


def test_the_dashboard_is_valid_for_grafana():
    assert DASHBOARD["schemaVersion"] >= 39
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    kinds = {"timeseries", "stat", "gauge", "bargauge", "table"}  # built into Grafana
    for panel in PANELS:
        assert panel["type"] in kinds
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["title"]
        assert panel["targets"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)
        assert all('job_name=~"$job_name"' in target["expr"] for target in panel["targets"])
    variables = {v["name"]: v["type"] for v in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource": "datasource", "job_name": "query"}


def test_panels_do_not_overlap():
    places = [panel["gridPos"] for panel in PANELS]
    assert all(p["x"] >= 0 and p["x"] + p["w"] <= 24 and p["h"] > 0 for p in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)
