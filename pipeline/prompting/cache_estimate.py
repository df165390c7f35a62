"""What share of a job's prompt tokens its engine will find in the prefix cache, before it runs.

A sample of whole papers goes through the job's own arrangement and tokenizer, and then through an
engine that is acted out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from pipeline.config.schema import Job
from pipeline.core.records import Message, Prompt
from pipeline.engines.token_budget import answer_tokens
from pipeline.engines.tokenizer import PromptEncoder, load_encoder
from pipeline.prompting.cache_simulator import Batching, batching_of, cached_tokens
from pipeline.prompting.grouping import grouped, split_batches
from pipeline.prompting.keys import digest
from pipeline.prompting.passage_order import arranged
from pipeline.prompting.template import PromptSource

A_LINE = 100
"""Characters."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Shares of prompt tokens, each between 0 and 1.

    `share` is the job's as it is. The others are what it would be with `prompt.passages:
    shared_first`, with the template's own words before all that differs between records, and with
    both; None where the job has that already, or a verbatim prompt leaves no choice.
    `cache_tokens` is the size of the cache, None where the job does not tell: it is then taken to
    forget nothing.
    """

    sampled: int
    cache_tokens: int | None
    share: float
    shared_first: float | None = None
    words_first: float | None = None
    both: float | None = None


def forecast(sample: Sequence[Prompt], job: Job, source: PromptSource) -> Forecast:
    """For a job of kind vllm, from the prompts of a few papers as `to_prompts` makes them."""
    encoder, batching = _encoder_of(job.model_dump_json()), batching_of(job)
    size = None if batching.blocks is None else batching.blocks * batching.block_tokens

    def share(first: bool, moved: bool) -> float:
        made = arranged(sample, source) if first else sample
        said = [_words_first(p) if moved else p.messages for p in made]
        asked, found = _tokens(said, [p.record.paper for p in made], job, encoder, batching)
        return found / max(asked, 1)

    first = job.prompt.passages == "shared_first"
    now = share(first, False)
    if source.is_verbatim:
        return Forecast(len(sample), size, now)
    late = any(_boilerplate_is_late(prompt) for prompt in sample)
    return Forecast(
        len(sample),
        size,
        now,
        None if first else share(True, False),
        share(first, True) if late else None,
        share(True, True) if late and not first else None,
    )


def tokens_foretold(
    prompts: Sequence[Sequence[Message]], papers: Sequence[str], job: Job
) -> dict[str, int]:
    """The tokens of prompts in their arrangement, and those that should come from the cache."""
    encoder = _encoder_of(job.model_dump_json())
    asked, found = _tokens(prompts, papers, job, encoder, batching_of(job))
    return {"predicted_prompt_tokens": asked, "predicted_cached_tokens": found}


def is_sampled(paper: str, share: float) -> bool:
    """The same papers everywhere, so that all prompts of one are found in whatever shard."""
    return int(digest(paper.encode())[:8], 16) < share * 2**32


@cache
def _encoder_of(job: str) -> PromptEncoder:
    """Once a process: it takes seconds."""
    return load_encoder(Job.model_validate_json(job))


def _tokens(
    prompts: Sequence[Sequence[Message]],
    papers: Sequence[str],
    job: Job,
    encoder: PromptEncoder,
    batching: Batching,
) -> tuple[int, int]:
    """Tokens of all prompts in the order that they would come in, and those found in the cache."""
    texts = ["\n".join(message.content for message in messages) for messages in prompts]
    answer = answer_tokens(job)
    tables = split_batches(grouped(texts, papers), job.rows_per_file, 1, answer)
    tokens = [encoder.encode(prompts[number]) for table in tables for number in table]
    found = cached_tokens(tokens, [answer] * len(tokens), batching)
    return sum(map(len, tokens)), sum(found)


def _boilerplate_is_late(prompt: Prompt) -> bool:
    """Whether more than a line of the template's own words stands behind what a record brings."""
    text = "\n".join(message.content for message in prompt.messages)
    brought = (prompt.record.question, *(passage.text for passage in prompt.record.passages))
    places = [at for words in brought if words and (at := text.find(words)) >= 0]
    return bool(places) and len(prompt.boilerplate) - min(places) > A_LINE


def _words_first(prompt: Prompt) -> tuple[Message, ...]:
    """About the same tokens with the template's own words in front, as nobody would write them."""
    brought = (*(passage.text for passage in prompt.record.passages), prompt.record.question or "")
    return (Message("user", "\n\n".join((prompt.boilerplate, *brought))),)
