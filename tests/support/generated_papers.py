"""Generated papers whose prompts share prefixes and whose answers are as long as thoughts are."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.engines import least_rows, max_concurrent_batches
from pipeline.engines.token_budget import CHARACTERS_PER_TOKEN
from pipeline.prompting.grouping import PromptGroup, split_batches
from pipeline.store.lengths import Lengths
from tests.support.fleet import Asked, drawn_tokens, fleet_seconds, least_seconds
from tests.support.jobs import vllm_job
from tests.support.lengths import lengths_of

QUESTIONS = 28


@dataclass(frozen=True)
class Papers:
    """Groups of prompts; by their numbers: characters, and tokens of their answers."""

    groups: list[PromptGroup]
    characters: list[int]
    answers: list[int]
    questions: list[str]
    questions_each: int = QUESTIONS

    def lengths(self) -> Lengths:
        """What a store knows that holds these answers; ids of records are their numbers."""
        ids = [*map(str, range(len(self.answers)))]
        return lengths_of(ids, self.questions, self.answers)

    def asked(self, batch: Sequence[int]) -> list[Asked]:
        """What a batch takes: of a prompt that does not follow its neighbour, all is read."""
        fresh = {n: f for group in self._groups(batch) for n, f in zip(*group, strict=True)}
        read = [
            fresh[n] if before == n - 1 else self.characters[n]
            for before, n in zip((None, *batch), batch, strict=False)
        ]
        return [
            Asked(self.answers[n], characters / CHARACTERS_PER_TOKEN)
            for n, characters in zip(batch, read, strict=True)
        ]

    def _groups(self, batch: Sequence[int]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        papers = dict.fromkeys(n // self.questions_each for n in batch)
        return [(self.groups[p].prompts, self.groups[p].fresh) for p in papers]


@dataclass(frozen=True)
class Measured:
    """Seconds over the least possible, and the share of prompt tokens that the cache held."""

    ratio: float
    cached: float


def papers(number: int, seed: int = 0, explained: float = 0.25) -> Papers:
    """Papers of 28 questions, which explain a share of the variance of their answers' lengths."""
    chance = random.Random(seed)
    groups, characters, answers, asked = [], [], [], []
    for paper in range(number):
        size = chance.randint(6000, 9000)
        fresh = (size, *(chance.randint(800, 5600) for _ in range(QUESTIONS - 1)))
        first = paper * QUESTIONS
        groups.append(PromptGroup(tuple(range(first, first + QUESTIONS)), fresh))
        characters += [size] * QUESTIONS
        questions = chance.sample(range(QUESTIONS), QUESTIONS)
        asked += map(str, questions)
        answers += [drawn_tokens(str(paper), str(q), explained, seed) for q in questions]
    return Papers(groups, characters, answers, asked)


def measured(
    generated: Papers, expected: Sequence[int], replicas: int, sequences: int, rows: int = 200
) -> Measured:
    """The batches of a job that expects answers of these lengths, on a simulated fleet."""
    job = vllm_job("model", options={"max_num_seqs": sequences}, rows_per_file=rows)
    concurrent = max_concurrent_batches(job)
    in_flight = replicas * (concurrent + 1)
    batches = [
        generated.asked(batch)
        for batch in split_batches(generated.groups, rows, in_flight, expected, least_rows(job))
    ]
    asked = [prompt for batch in batches for prompt in batch]
    least = least_seconds(asked, replicas, sequences)
    read = sum(prompt.prefilled for prompt in asked) * CHARACTERS_PER_TOKEN
    seconds = fleet_seconds(batches, replicas, sequences, concurrent)
    return Measured(seconds / least, 1 - read / sum(generated.characters))
