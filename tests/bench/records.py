"""Generated records of the size that the field has: passages, a question, a recorded answer."""

import random
from collections.abc import Iterator
from pathlib import Path

import orjson

QUESTIONS_PER_PAPER = 28
PASSAGES, PASSAGE_WORDS, ANSWER_WORDS = 4, 110, 100

_SYLLABLES = [
    "ka",
    "lo",
    "mi",
    "ren",
    "tu",
    "va",
    "sel",
    "dor",
    "ni",
    "pha",
    "que",
    "rit",
    "um",
    "es",
    "ol",
    "tra",
    "ben",
    "gi",
]


def generate(folder: Path, records: int, shards: int, seed: int = 7) -> Path:
    """Writes `records` rows over `shards` JSONL files; the same seed gives the same bytes."""
    folder.mkdir(parents=True)
    for shard in range(shards):
        rows = range(shard * records // shards, (shard + 1) * records // shards)
        with (folder / f"{shard:04}.jsonl").open("wb") as file:
            file.writelines(_lines(rows, random.Random(seed + shard)))
    return folder


def _lines(rows: range, chance: random.Random) -> Iterator[bytes]:
    words = ["".join(chance.choices(_SYLLABLES, k=chance.randint(1, 4))) for _ in range(4000)]
    pool = [prose(words, PASSAGE_WORDS, chance) for _ in range(2000)]
    answers = [prose(words, ANSWER_WORDS, chance) for _ in range(2000)]
    for n in rows:
        paper, question = divmod(n, QUESTIONS_PER_PAPER)
        passages = chance.sample(pool, PASSAGES)
        row = {
            "record_id": f"paper-{paper:06}_Q{question}",
            "paper_id": f"paper-{paper:06}",
            "question_id": f"Q{question}",
            "question": f"What does paper {paper} say of {passages[0].split()[3]}?",
            "passages": [f"({n}) {passage}" for passage in passages],
            "recorded_answer": f"Answer:::\nIn case {n}: {chance.choice(answers)}\nAnswer:::",
        }
        yield orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


def prose(words: list[str], length: int, chance: random.Random) -> str:
    """Words in sentences of eight to twenty."""
    sentences = []
    left = length
    while left > 0:
        count = min(chance.randint(8, 20), left)
        sentences.append(" ".join(chance.choices(words, k=count)).capitalize() + ".")
        left -= count
    return " ".join(sentences)
