"""What a prepared job says of its own needs."""

import pytest

from pipeline.answering.prepare import prepare
from tests.support.jobs import BETTER_PROMPT, job, rows, write_jsonl

OWN = {"page": {"pattern": "pond", "level": "label"}}


@pytest.mark.parametrize(
    ("sections", "reads"),
    [
        ({"engine": {"kind": "recorded"}}, False),
        ({"engine": {"kind": "extractive"}}, True),
        ({"engine": {"kind": "recorded"}, "checks": OWN}, True),
        (
            {
                "engine": {"kind": "recorded"},
                "prompt": {"template": BETTER_PROMPT, "passages": "shared_first"},
            },
            True,
        ),
    ],
    ids=["nobody", "the engine", "an own check", "their order"],
)
def test_passages_are_kept_for_whoever_reads_them_again(sections, reads, tmp_path):
    write_jsonl(tmp_path / "shards/a.jsonl", rows(range(2)))
    prepared = prepare(job(tmp_path / "shards", tmp_path / "store", **sections))
    assert prepared.reads_passages is reads
