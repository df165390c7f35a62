"""The cost on one core of arranging and ordering prompts for shared prefixes."""

import random
import time
from functools import lru_cache

from pipeline.config.schema import Answer
from pipeline.core.records import Message, Passage, Place, Prompt, Record
from pipeline.prompting.grouping import grouped, split_batches
from pipeline.prompting.passage_order import arranged
from pipeline.prompting.template import load_prompt
from tests.bench.records import PASSAGE_WORDS, QUESTIONS_PER_PAPER, prose
from tests.support.jobs import BETTER_PROMPT

RECORDS, PASSAGES, POOL = 100_000, 12, 40
"""Each question draws PASSAGES of its paper's POOL, the first ones more often."""

WORDS = [f"{opening}{end}" for opening in "bdfgklmnprst" for end in ("a", "ola", "imer", "u")]

PARTITION_RECORDS = 8_000


def planning_rate() -> float:
    """Records a second a core: arranged, rendered, ordered and cut into batches."""
    source = load_prompt(BETTER_PROMPT, Answer())
    seconds = 0.0
    for start in range(0, RECORDS, PARTITION_RECORDS):
        prompts = [_prompt(n) for n in range(start, min(start + PARTITION_RECORDS, RECORDS))]
        began = time.process_time()
        prompts = arranged(prompts, source)
        texts = ["\n".join(message.content for message in prompt.messages) for prompt in prompts]
        groups = grouped(texts, [prompt.record.paper for prompt in prompts])
        batches = list(split_batches(groups, 200, 1, [400] * len(prompts)))
        seconds += time.process_time() - began
        assert sum(map(len, batches)) == len(prompts)
    return RECORDS / seconds


@lru_cache(maxsize=4 * POOL)
def _passage(number: int) -> Passage:
    return Passage(prose(WORDS, PASSAGE_WORDS, random.Random(number)))


def _prompt(number: int) -> Prompt:
    paper, question = divmod(number, QUESTIONS_PER_PAPER)
    chance = random.Random(number)
    drawn = {int(POOL * chance.random() ** 2) for _ in range(3 * PASSAGES)}
    passages = tuple(_passage(paper * POOL + n) for n in sorted(drawn, key=str)[:PASSAGES])
    record = Record(
        f"{paper}_{question}", Place("bench", number), str(paper), str(question), "Why?", passages
    )
    return Prompt(record, (Message("user", ""),), "", "", str(number))
