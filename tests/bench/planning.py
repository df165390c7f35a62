"""What it costs one core to bring a paper's prompts into the order that shares most."""

import random
import time
from functools import lru_cache

from pipeline.core.records import Message, Passage, Place, Prompt, Record
from pipeline.prompting.grouping import grouped, split_batches
from pipeline.prompting.passage_order import arranged
from pipeline.prompting.template import load_prompt
from tests.bench.records import PASSAGE_WORDS, QUESTIONS_PER_PAPER, prose
from tests.support.jobs import BETTER_PROMPT

RECORDS, PASSAGES, POOL = 100_000, 12, 40
"""Each of a paper's questions draws so many of its passages, those at the front more often."""

WORDS = [f"{opening}{end}" for opening in "bdfgklmnprst" for end in ("a", "ola", "imer", "u")]

AT_ONCE = 8_000
"""Records of a partition."""


def planning_rate() -> float:
    """Records a second a core: arranged, rendered, put in order and cut into tables."""
    source = load_prompt(BETTER_PROMPT, 399)
    spent = 0.0
    for start in range(0, RECORDS, AT_ONCE):
        prompts = [_prompt(n) for n in range(start, min(start + AT_ONCE, RECORDS))]
        began = time.process_time()
        made = arranged(prompts, source)
        texts = ["\n".join(message.content for message in prompt.messages) for prompt in made]
        tables = list(
            split_batches(grouped(texts, [prompt.record.paper for prompt in made]), 200, 1, 400)
        )
        spent += time.process_time() - began
        assert sum(map(len, tables)) == len(prompts)
    return RECORDS / spent


@lru_cache(maxsize=4 * POOL)
def _passage(number: int) -> Passage:
    return Passage(prose(WORDS, PASSAGE_WORDS, random.Random(number)))


def _prompt(number: int) -> Prompt:
    paper, question = divmod(number, QUESTIONS_PER_PAPER)
    chance = random.Random(number)
    drawn = {int(POOL * chance.random() ** 2) for _ in range(3 * PASSAGES)}
    held = tuple(_passage(paper * POOL + n) for n in sorted(drawn, key=str)[:PASSAGES])
    record = Record(
        f"{paper}_{question}", Place("bench", number), str(paper), str(question), "Why?", held
    )
    return Prompt(record, (Message("user", ""),), "", "", str(number))
