"""A run's figures where Prometheus finds them, and the dashboard that shows them."""

import json
import re
from itertools import combinations

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from pipeline.run.metrics import COUNTERS, GAUGES
from tests.support.jobs import ROOT

DASHBOARD = json.loads((ROOT / "deploy/grafana/overnight.json").read_text())
PANELS = DASHBOARD["panels"]
RECORDS = 40
NIGHT = "shown"


@pytest.fixture(scope="module")
def exported(shown_run) -> list[Sample]:
    """The samples of the run."""
    families = (f for page in shown_run.metrics for f in text_string_to_metric_families(page))
    return [s for f in families for s in f.samples if s.labels.get("job_name") == NIGHT]


def values(samples: list[Sample], name: str, label: str) -> dict[str, float]:
    return {s.labels[label]: s.value for s in samples if s.name == f"ray_overnight_{name}"}


def test_counters_end_where_the_runs_file_does(shown_run, exported):
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
    assert values(exported, "repairs_total", "job_name") == {NIGHT: sums["repairs"]}


def test_gauges_show_what_the_terminal_did_last(exported):
    stages = values(exported, "stage_records", "stage")
    assert (stages["read"], stages["stored"], stages["in_engines"]) == (RECORDS + 1, RECORDS, 0)
    assert values(exported, "passing_ratio", "job_name") == {NIGHT: pytest.approx(38 / 40)}
    assert values(exported, "cached_ratio", "job_name") == {NIGHT: pytest.approx(0.4)}
    assert values(exported, "left_seconds", "job_name") == {NIGHT: 0}
    assert values(exported, "replicas", "state")["answering"] == 1


def test_no_series_belongs_to_a_record_a_paper_or_a_run(exported):
    """Labels of ours, that is; Ray adds the process and the session."""
    of_ours = {"job_name", "state", "kind", "check", "stage"}
    of_rays = {"Component", "NodeAddress", "SessionName", "Version", "WorkerId"}
    assert {name for s in exported for name in s.labels if not name.startswith("otel_")} == {
        *of_ours,
        *of_rays,
    }


def test_every_figure_is_exported_under_the_name_that_the_dashboard_asks_for(exported):
    names = {f"ray_{figure.name}" for figure in (*COUNTERS, *GAUGES)}
    asked = set(re.findall(r"\bray_\w+", json.dumps(PANELS)))
    assert asked == names == {s.name for s in exported}


def test_the_dashboard_is_one_that_grafana_takes():
    assert DASHBOARD["schemaVersion"] >= 39
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    kinds = {"timeseries", "stat", "gauge", "bargauge", "table"}  # of Grafana's own
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


def test_no_panel_lies_over_another():
    places = [panel["gridPos"] for panel in PANELS]
    assert all(p["x"] >= 0 and p["x"] + p["w"] <= 24 and p["h"] > 0 for p in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)
