"""The share of a job's prompt tokens that the prefix cache will supply, before the job runs.

vLLM finds the blocks of a prompt that earlier prompts began with. The estimate counts them in a
sample of whole papers as if the cache kept every block. That is what a real cache gives: prompts
run in the order of their texts, so whatever a prompt shares with any earlier one it shares with its
predecessor, whose blocks were used last. A simulation of vLLM's block pool and scheduler differed
by less than 0.001 even at a cache of two prompts (docs/prefixes.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.config.schema import Job
from pipeline.core.records import Message, Prompt
from pipeline.engines import shares_generations
from pipeline.engines.model_files import ModelSpec, cache_bytes_per_token
from pipeline.engines.tokenizer import shared_encoder
from pipeline.prompting.keys import digest
from pipeline.prompting.passage_order import arranged
from pipeline.prompting.template import PromptSource

LINE_CHARACTERS = 100

CPU_BLOCK_TOKENS, GPU_BLOCK_TOKENS = 128, 16
"""Defaults of vLLM's two builds."""


@dataclass(frozen=True, slots=True)
class CacheEstimate:
    """Shares of prompt tokens, each between 0 and 1, from a sample of prompts.

    `share` is that of the job as it is. The others are what it would be with `prompt.passages:
    shared_first`, with the template's own words before everything that differs between records,
    and with both; None if the job has that already, or a verbatim prompt leaves no choice.
    `cache_tokens` is the size of the cache, None if the job does not set it; the shares do not
    depend on it. `longest_prompt` is in tokens.
    """

    sampled: int
    longest_prompt: int
    cache_tokens: int | None
    share: float
    shared_first: float | None = None
    words_first: float | None = None
    both: float | None = None


def estimate_cache(sample: Sequence[Prompt], job: Job, source: PromptSource) -> CacheEstimate:
    """For a job of kind vllm, from all prompts of a few papers."""
    if shares_generations(job):
        sample = list({prompt.generation_key: prompt for prompt in sample}.values())
    encoder = shared_encoder(ModelSpec.of(job))

    def encoded(shared_first: bool, words_first: bool) -> list[list[int]]:
        prompts = arranged(sample, source) if shared_first else sample
        messages = [_words_first(p) if words_first else p.messages for p in prompts]
        return list(map(encoder.encode, messages))

    def share_of(tokens: Sequence[Sequence[int]]) -> float:
        return cached_tokens(tokens, block_tokens(job)) / max(sum(map(len, tokens)), 1)

    def share(shared_first: bool, words_first: bool) -> float:
        return share_of(encoded(shared_first, words_first))

    is_first = job.prompt.passages == "shared_first"
    now = encoded(is_first, False)
    common = len(sample), max(map(len, now), default=0), _cache_tokens(job), share_of(now)
    if source.is_verbatim:
        return CacheEstimate(*common)
    is_late = any(_boilerplate_is_late(prompt) for prompt in sample)
    return CacheEstimate(
        *common,
        None if is_first else share(True, False),
        share(is_first, True) if is_late else None,
        share(True, True) if is_late and not is_first else None,
    )


def is_sampled(paper: str, share: float) -> bool:
    """Whether a paper is in the sample; decided by its name, so that all its prompts are."""
    return int(digest(paper.encode())[:8], 16) < share * 2**32


def cached_tokens(prompts: Sequence[Sequence[int]], block_tokens: int) -> int:
    """Tokens of prompts that are found in a cache of blocks which keeps all of them.

    Each block is known by a hash of all tokens up to its end.
    """
    known: set[int] = set()
    blocks = 0
    for prompt in prompts:
        name, is_known = 0, True
        for end in range(block_tokens, len(prompt) + 1, block_tokens):
            name = hash((name, *prompt[end - block_tokens : end]))
            # A prompt's last token is always computed, as its output is the first new token.
            is_known = is_known and name in known and end < len(prompt)
            blocks += is_known
            known.add(name)
    return blocks * block_tokens


def block_tokens(job: Job) -> int:
    """Tokens that vLLM finds in its cache together or not at all."""
    default = GPU_BLOCK_TOKENS if job.engine.gpus else CPU_BLOCK_TOKENS
    return int(job.engine.options.get("block_size") or default)


def _cache_tokens(job: Job) -> int | None:
    """The size of the cache, if the job sets it in blocks or bytes."""
    options, size = job.engine.options, block_tokens(job)
    blocks, memory = options.get("num_gpu_blocks_override"), options.get("kv_cache_memory_bytes")
    if blocks is None and memory is not None:
        each = cache_bytes_per_token(ModelSpec.of(job))
        blocks = memory // (each * size) if each else None
    return None if blocks is None else int(blocks) * size


def _boilerplate_is_late(prompt: Prompt) -> bool:
    """Whether more than a line of the template's own words comes after the record's."""
    text = "\n".join(message.content for message in prompt.messages)
    fields = (prompt.record.question, *(passage.text for passage in prompt.record.passages))
    places = [at for field in fields if field and (at := text.find(field)) >= 0]
    return bool(places) and len(prompt.boilerplate) - min(places) > LINE_CHARACTERS


def _words_first(prompt: Prompt) -> tuple[Message, ...]:
    """About the same tokens, with the template's own words in front; for counting only."""
    fields = (*(passage.text for passage in prompt.record.passages), prompt.record.question or "")
    return (Message("user", "\n\n".join((prompt.boilerplate, *fields))),)
