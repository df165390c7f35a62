"""How near two replicas come to the limit of an endpoint, and how often they are refused."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.config.schema import Job
from tests.support.jobs import job, rows, run_on_cluster, write_jsonl
from tests.support.limited import TOKENS, limited

PER_MINUTE = 1200
"""Requests, or as many times the tokens of one."""

RECORDS, REPLICAS = 800, 2

SKIPPED_SECONDS = 2.0
"""The first answers go at once: the endpoint's bucket is full."""


@dataclass(frozen=True)
class Case:
    """What the endpoint limits and says, and what the job says of it."""

    unit: Literal["requests", "tokens"]
    says: Literal["limits", "wait", "nothing"]
    is_given: bool = False
    tokens: int = TOKENS  # that the endpoint counts

    @property
    def limits(self) -> dict[str, float]:
        per_request = self.tokens if self.unit == "tokens" else 1
        return {f"{self.unit}_per_minute": PER_MINUTE * per_request}

    @property
    def known_by(self) -> str:
        if self.is_given:
            return "`engine.limits`"
        if self.tokens > TOKENS:
            return "its headers, and it counts what an answer may have"
        told = {"limits": "its headers", "wait": "`retry-after` alone", "nothing": "429 alone"}
        return told[self.says]


CASES = (
    Case("requests", "nothing", is_given=True),
    Case("tokens", "nothing", is_given=True),
    Case("requests", "limits"),
    Case("tokens", "limits"),
    Case("tokens", "limits", tokens=3 * TOKENS),
    Case("requests", "wait"),
    Case("requests", "nothing"),
    Case("tokens", "nothing"),
)


@dataclass(frozen=True)
class LimitUse:
    """Shares: of the limit that was used, and of all requests that were refused, over the whole run
    and over its second half.
    """

    used: float
    refused: float
    refused_later: float
    failed: int
    read: int


def limited_job(url: str, folder: Path, records: int, limits: Mapping[str, float]) -> Job:
    write_jsonl(folder / "shards/a.jsonl", rows(range(records)))
    engine: dict[str, Any] = {
        "kind": "openai",
        "model": "m",
        "replicas": REPLICAS,
        "limits": dict(limits),
        "options": {"base_url": f"{url}/v1", "concurrency": 32},
    }
    return job(folder / "shards", folder / "store", 20, engine=engine)


def measure(case: Case, folder: Path, records: int = RECORDS) -> LimitUse:
    with limited(**case.limits, says=case.says, tokens=case.tokens) as endpoint:
        given = case.limits if case.is_given else {}
        document = run_on_cluster(limited_job(endpoint.url, folder, records, given))
        middle = (endpoint.admitted[0] + endpoint.admitted[-1]) / 2
        later = [
            sum(at > middle for at in list_) for list_ in (endpoint.refused, endpoint.admitted)
        ]
        use = LimitUse(
            endpoint.rate(SKIPPED_SECONDS) * 60 / PER_MINUTE,
            endpoint.refused_share,
            later[0] / sum(later),
            document["counts"]["failed"],
            document["counts"]["read"],
        )
    print(case, use, file=sys.stderr, flush=True)
    return use


def section(scratch: Path) -> list[str]:
    uses = [(case, measure(case, scratch / str(n))) for n, case in enumerate(CASES)]
    table = [
        f"| {case.unit} | {case.known_by} | {use.used:.3f} | {use.refused:.1%} | "
        f"{use.refused_later:.1%} | {use.failed} of {use.read} |"
        for case, use in uses
    ]
    return [
        "## Limits of an endpoint",
        "",
        f"Two replicas on a Ray cluster ask an endpoint that admits {PER_MINUTE:,} requests a",
        "minute or the tokens of as many, by a token bucket that holds 1.5 s of it, and answers",
        f"after 0.3 s: {RECORDS} records, 40 s. What is used of the limit is counted from",
        f"{SKIPPED_SECONDS:.0f} s after the first answer.",
        "",
        "| limit of | known by | used of the limit | 429s | 429s, second half | failed |",
        "|---|---|---:|---:|---:|---:|",
        *table,
        "",
        "Without headers the limit must be passed to be found, and so it must where an endpoint",
        "counts more tokens than its usage says: most of these 429s are of the first seconds, and",
        "the rest are of trying now and then whether there is more.",
        "",
    ]


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        for n, case in enumerate(CASES):
            if len(sys.argv) < 2 or str(n) in sys.argv[1:]:
                measure(case, Path(scratch) / str(n), 300)
