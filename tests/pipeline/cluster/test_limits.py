"""Two replicas on a cluster ask an endpoint that enforces limits; `make bench SECTIONS=limits` has
more of it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.answering.prepare import prepare
from pipeline.cluster.ray_data import RayData
from pipeline.config.selection import Selection
from pipeline.runs.execute import execute
from tests.bench.limits import limited_job
from tests.support.limited import TOKENS, limited

pytestmark = pytest.mark.usefixtures("ray_cluster")

PER_MINUTE, RECORDS = 600, 160


def run(
    url: str, folder: Path, records: int, limits: Mapping[str, float]
) -> tuple[dict[str, Any], set[str]]:
    """The document of a run, and all that it has waited for."""
    waits: set[str] = set()
    job = limited_job(url, folder, records, limits)
    document = execute(
        prepare(job, Selection()),
        RayData(job.engine),
        [lambda progress: waits.add(progress.counts.waits_for)],
    )
    return document, waits - {""}


def test_two_replicas_use_the_limit_that_binds_and_pass_it_hardly_ever(tmp_path):
    """The job gives one limit, and the endpoint says the other, which is reached first.

    Here others keep the machine busy. docs/benchmarks.md has the shares on an idle one, and
    test_pacer.py those in simulated time.
    """
    given, tokens = {"requests_per_minute": 2 * PER_MINUTE}, PER_MINUTE * TOKENS
    with limited(**given, tokens_per_minute=tokens) as endpoint:
        document, waits = run(endpoint.url, tmp_path, RECORDS, given)
    assert document["counts"]["answered"] == RECORDS
    assert endpoint.rate(1.5) * 60 >= 0.6 * PER_MINUTE
    assert len(endpoint.refused) <= 0.05 * RECORDS
    assert any(f"waits for {tokens:,} tokens a minute at 127.0.0.1:" in words for words in waits)


def test_an_endpoint_that_says_nothing_but_429_fails_no_record(tmp_path):
    with limited(requests_per_minute=PER_MINUTE, says="nothing") as endpoint:
        document, _ = run(endpoint.url, tmp_path, 40, {})
    assert document["counts"]["answered"] == 40
    assert document["sums"]["rate_limited"] == len(endpoint.refused) > 0
