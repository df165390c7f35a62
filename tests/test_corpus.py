"""The real corpus: 6,104 published records, and the answers of five models."""

import csv
import gzip
import io
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.answering.stance import stance_of
from pipeline.cluster.identities import Identities
from pipeline.config.schema import Answer, Input, Job, TextGrammar
from pipeline.core.arrow import split_work
from pipeline.core.filesystem import Storage
from pipeline.core.records import Place, Record
from pipeline.formats.extract import extract_answer
from pipeline.prompting.render import to_prompts
from pipeline.prompting.template import load_prompt, render
from pipeline.reading.shards import list_shards
from pipeline.reading.source import read_blocks
from pipeline.reading.text import text_record
from pipeline.store.ledger import Ledger
from tests.conftest import S3_KEY, S3_SECRET
from tests.support.jobs import S3, Corpus, job, run, run_on_cluster

RECORDS, COMPLETIONS = 6_104, 24_416


def records(uri: Path) -> list[Record]:
    shards = list_shards(str(uri), Storage()).shards
    blocks = list(read_blocks(shards, Input(uri=str(uri)), Storage()))
    assert not any(block.rejects for block in blocks)
    return [record for block in blocks for record in block.records]


@pytest.fixture(scope="session")
def text_records(corpus: Corpus) -> list[Record]:
    return records(corpus.records)


@pytest.fixture(scope="session")
def as_rows(text_records) -> list[dict]:
    return [
        {
            "record_id": r.record_id,
            "paper_id": r.paper_id,
            "question_id": r.question_id,
            "question": r.question,
            "passages": [p.text for p in r.passages],
            "prompt": r.messages[0].content,
            "recorded_answer": r.recorded_answer,
        }
        for r in text_records
    ]


@pytest.fixture(scope="session")
def jsonl_shards(as_rows, tmp_path_factory) -> Path:
    """The corpus as eight gzipped JSONL shards."""
    folder = tmp_path_factory.mktemp("jsonl")
    for i in range(8):
        with gzip.open(folder / f"{i}.jsonl.gz", "wt", encoding="utf-8", compresslevel=1) as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in as_rows[i::8])
    return folder


@pytest.fixture(scope="session")
def parquet_shards(as_rows, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("parquet")
    pq.write_table(pa.Table.from_pylist(as_rows), folder / "corpus.parquet", row_group_size=1000)
    return folder


@pytest.fixture(scope="session")
def completions(corpus: Corpus) -> list[dict]:
    with gzip.open(corpus.packed / "answers_of_other_models.jsonl.gz") as file:
        return [json.loads(line) for line in file]


def test_every_record_parses_and_names_its_paper_and_question(text_records):
    assert len(text_records) == RECORDS
    assert len({r.paper_id for r in text_records}) == 218
    assert {r.question_id for r in text_records} == {f"CQ{n}" for n in range(1, 29)}


def test_no_clean_record_is_repaired(text_records):
    assert Counter(r.repairs for r in text_records) == {(): RECORDS}


def test_every_damaged_record_is_repaired(text_records):
    """Every record with a character outside ASCII, decoded wrongly as an earlier tool did."""
    wrong = []
    damaged = 0
    for record in text_records:
        whole = record.messages[0].content + (record.recorded_answer or "")
        if whole.isascii():
            continue
        damaged += 1
        mojibake = whole.encode().decode("mac_roman").encode()
        repaired = text_record(mojibake, record.place, TextGrammar())
        if (repaired.messages, repaired.repairs) != (record.messages, ("mac_roman",)):
            wrong.append(record.record_id)
    assert damaged > 5_000
    assert wrong == []


@pytest.mark.parametrize("template", ["verbatim", "instructions-first"])
def test_text_jsonl_and_parquet_give_the_same_generation_keys(
    corpus, jsonl_shards, parquet_shards, template
):
    prompt = "verbatim" if template == "verbatim" else f"conf/prompts/{template}.md"

    def keys(uri: Path) -> set[tuple[str, str]]:
        a_job = job(uri, "store", prompt=prompt, engine={"kind": "recorded"})
        source = load_prompt(prompt, Answer())
        shards = list_shards(str(uri), Storage()).shards
        pairs = set()
        for items in read_blocks(shards, a_job.input, Storage()):
            prompts, _ = split_work(to_prompts(items, a_job, source, Ledger.empty, Identities()))
            pairs.update(
                zip(
                    prompts["record_id"].to_pylist(),
                    prompts["generation_key"].to_pylist(),
                    strict=True,
                )
            )
        return pairs

    expected = keys(corpus.records)
    assert len({key for _, key in expected}) == RECORDS
    assert keys(jsonl_shards) == expected
    assert keys(parquet_shards) == expected


def test_the_template_for_the_published_format_renders_the_published_prompts(text_records):
    """Except for the instructions, which are the project's own."""
    source = load_prompt("conf/prompts/context-first.md", Answer())

    def without_instructions(text: str) -> str:
        return re.sub(r"(?s)(%INSTRUCTIONS:\n).*?(\n\n%Query\n)", r"\1\2", text)

    for record in text_records:
        (rendered,), _ = render(source, record)
        assert without_instructions(rendered.content) == without_instructions(
            record.messages[0].content
        )


def test_recorded_answers_from_s3_are_checked_and_then_current(
    corpus: Corpus, rclone_s3: S3, ray_cluster
):
    assert rclone_s3.folder is not None
    for bucket in ("corpus", "store"):  # through the server, which keeps its list of buckets
        _client(rclone_s3).mkdir(bucket)
    (rclone_s3.folder / "corpus" / "records").mkdir()
    for path in sorted(corpus.records.iterdir())[::4]:
        shutil.copy(path, rclone_s3.folder / "corpus" / "records")
    a_job = job(
        "s3://corpus/records/",
        "s3://store/recorded",
        prompt="verbatim",
        engine={"kind": "recorded", "model": "mixtral-8x22b", "replicas": 2},
        storage=rclone_s3.storage(),
    )
    check_answered_then_current(a_job, run_on_cluster, RECORDS // 4)


def test_extractive_answers_through_another_s3_server(jsonl_shards, moto_s3: S3):
    s3 = _client(moto_s3)
    s3.mkdir("corpus")
    s3.mkdir("store")
    for shard in sorted(jsonl_shards.iterdir())[::4]:
        s3.put_file(str(shard), f"corpus/records/{shard.name}")
    a_job = job(
        "s3://corpus/records/*.gz",
        "s3://store/extractive",
        engine={"kind": "extractive", "replicas": 2},
        storage=moto_s3.storage(),
    )
    check_answered_then_current(a_job, run, RECORDS // 4)


def check_answered_then_current(a_job: Job, first_run: Callable[[Job], dict], records: int) -> None:
    first = first_run(a_job)["counts"]
    assert first["read"] == records == first["answered"] + first["failed"]
    assert first["rejected"] == first["current"] == 0
    again = run(a_job)
    assert again["counts"]["current"] == records
    assert again["counts"]["answered"] == again["counts"]["failed"] == 0
    assert again["sums"].get("parts", 0) == 0


def _client(server: S3):
    return fsspec.filesystem("s3", key=S3_KEY, secret=S3_SECRET, endpoint_url=server.endpoint)


def test_no_completion_that_holds_an_answer_is_extracted_as_empty(completions):
    assert len(completions) == COMPLETIONS
    emptied = [
        c["record"]
        for c in completions
        if any(ch.isalnum() for ch in re.sub(r"(?i)answer\W*:", "", c["completion"]))
        and not extract_answer(c["completion"])
    ]
    assert emptied == []


def test_extraction_adds_nothing_to_a_completion(completions):
    def letters(text: str) -> str:
        return "".join(text.split())

    for completion in completions:
        answer = extract_answer(completion["completion"])
        whole = letters(completion["completion"])
        assert all(letters(paragraph) in whole for paragraph in answer.split("\n\n"))


def test_stance_agrees_with_definite_human_judgements(corpus, completions, text_records):
    texts = {(c["record"], c["model"]): c["completion"] for c in completions}
    texts |= {(r.record_id, "mixtral_8_22b"): r.recorded_answer or "" for r in text_records}
    table: Counter[tuple[str, str]] = Counter()
    for row in _labels(corpus):
        if (completion := texts.get((row["record"], row["model"]))) is not None:
            table[stance_of(extract_answer(completion)), row["answered"]] += 1
    assert table.total() > 1_500
    abstained = table["abstained", "no"] / (table["abstained", "no"] + table["abstained", "yes"])
    answered = table["answered", "yes"] / (table["answered", "yes"] + table["answered", "no"])
    assert abstained > 0.88
    assert answered > 0.80


def _labels(corpus: Corpus) -> Iterator[dict[str, str]]:
    yield from csv.DictReader(io.StringIO((corpus.packed / "labels.csv").read_text()))


def test_the_seed_that_was_decoded_wrongly_comes_out_with_its_mathematics(corpus):
    seeds = corpus.packed.parent / "seeds"
    if not seeds.exists():
        pytest.skip(f"no seed records at {seeds}")
    (path,) = seeds.glob("000_*.txt")
    record = text_record(path.read_bytes(), Place(path.as_uri(), 0), TextGrammar())
    (context,) = record.passages
    assert record.repairs == ("mac_roman",)
    for characters in ("𝐵 = 64", "15 × 15 pixels", "NIBIO’s", "𝐷𝑧 > 1.3 m", "10−4", "∼14 days"):
        assert characters in context.text.replace("\n", " ")
    assert "√" not in context.text
    assert "ù" not in context.text
