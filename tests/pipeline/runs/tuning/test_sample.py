"""The sample that `tune` measures with: spread over the input, in the order of a run."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.answering.prepare import prepare
from pipeline.core.errors import ConfigError
from pipeline.runs.tuning.sample import SAMPLED_SHARDS, sampled_prompts
from tests.support.jobs import job, rows, write_jsonl


def sample(folder: Path, records: int) -> list[str]:
    prepared = prepare(job(folder / "in", folder / "store"))
    return [prompt.record.record_id for prompt in sampled_prompts(prepared, records)]


def shards(folder: Path, *sizes: int) -> None:
    first = 0
    for number, size in enumerate(sizes):
        write_jsonl(folder / f"in/{number:02}.jsonl", rows(range(first, first + size)))
        first += size


def test_a_sample_is_of_neighbours_from_shards_that_are_evenly_spread(tmp_path: Path):
    shards(tmp_path, *[60] * 20)
    ids = sample(tmp_path, 48)
    papers = Counter(name.partition("_")[0] for name in ids)
    assert len(ids) == len(set(ids)) == 48
    assert papers == Counter(dict.fromkeys((f"paper-{n * 20}" for n in range(SAMPLED_SHARDS)), 6))


@pytest.mark.parametrize("sizes", [(5, 60), (60, 5), (1, 1, 1, 40, 1, 1), (3,) * 30, (70,)])
def test_a_sample_is_as_large_as_is_asked_for_wherever_the_records_are(
    sizes: tuple[int, ...], tmp_path: Path
):
    shards(tmp_path, *sizes)
    ids = sample(tmp_path, 40)
    assert len(ids) == len(set(ids)) == min(40, sum(sizes))


def test_a_paper_stands_together(tmp_path: Path):
    shards(tmp_path, 30, 30)
    papers = [name.partition("_")[0] for name in sample(tmp_path, 60)]
    changes = sum(one != other for one, other in pairwise(papers))
    assert changes == len(set(papers)) - 1


def test_records_that_make_no_prompt_are_passed_over(tmp_path: Path):
    write_jsonl(tmp_path / "in/a.jsonl", [{"record_id": "empty"}, *rows(range(5))])
    assert len(sample(tmp_path, 10)) == 5


def test_an_input_without_prompts_is_an_error_that_names_it(tmp_path: Path):
    write_jsonl(tmp_path / "in/a.jsonl", [{"record_id": "empty"}])
    with pytest.raises(ConfigError, match="no record makes a prompt"):
        sample(tmp_path, 10)
