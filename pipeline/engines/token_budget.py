"""How the tokens of a model's context are divided between prompt and answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import Self

from pipeline.config.schema import Answer, Job, Sampling
from pipeline.core.errors import ConfigError
from pipeline.core.records import Fault, Message
from pipeline.engines.engine import Request
from pipeline.engines.model_files import ModelSpec, context_tokens
from pipeline.engines.reasoning_parsers import reasoning_of
from pipeline.engines.tokenizer import shared_encoder

CHARACTERS_PER_TOKEN = 4
"""English prose under common tokenizers; for estimates, which are labelled as such."""

EXPECTED_TOKENS_PER_WORD, EXPECTED_FRAME_TOKENS = 4 / 3, 16
"""What an answer usually takes: English prose under common tokenizers, and the two markers. Prompts
must leave this much of the context free, and cost estimates count with it."""

LIMIT_TOKENS_PER_WORD, LIMIT_FRAME_TOKENS = 4, 64
"""Where an answer is cut off if the job sets no limit: generous, for names, formulas and other
languages; an answer at three times the expected rate is a model in a loop."""

TEMPLATE_TOKENS = 512
"""More than a chat template adds to a prompt."""


@dataclass(frozen=True, slots=True)
class TokenBudget:
    """A model's context and what an answer needs of it, in tokens."""

    model: ModelSpec
    context: int
    answer: int  # with the thought in front of it, as far as the job limits that

    @classmethod
    def of(cls, job: Job) -> Self:
        """Raises `ConfigError` if an answer leaves no room for a prompt."""
        model, answer = ModelSpec.of(job), answer_tokens(job) + _thought_tokens(job)
        context = _context_tokens(model)
        if context <= answer:
            raise ConfigError(
                f"engine.options.max_model_len: {context} tokens hold no prompt beside an "
                f"answer of {answer}; raise it, or lower answer.max_words"
            )
        return cls(model, context, answer)

    def check(self, messages: Sequence[Message], most: int | None = None) -> None:
        """Raises `Fault` for a prompt that is too long, with its tokens and what there is for it.

        `most` is the record's own limit of tokens for its answer.

        A token is at least a byte: most prompts fit by their bytes alone, and the tokenizer is
        loaded only for the first one that may not.
        """
        answer = min(self.answer, most or self.answer)
        room = self.context - answer
        if sum(len(m.content.encode()) for m in messages) + TEMPLATE_TOKENS <= room:
            return
        tokens = len(shared_encoder(self.model).encode(messages))
        if tokens > room:
            raise Fault(
                "too_long",
                f"the prompt has {tokens:,} tokens; a context of {self.context:,} leaves "
                f"{room:,} beside an answer of {answer:,}",
            )


def estimated_tokens(messages: Sequence[Message]) -> int:
    """Tokens of a prompt by its characters."""
    return sum(len(message.content) for message in messages) // CHARACTERS_PER_TOKEN


_context_tokens = cache(context_tokens)
"""Once a process: the model's files may be in an object store."""


def answer_tokens(job: Job) -> int:
    """Tokens an answer is expected to take: its words at the common rate, or the job's limit if
    that is less.
    """
    return min(_expected(job.answer), job.sampling.max_tokens or _expected(job.answer))


def _expected(answer: Answer) -> int:
    return ceil(answer.expected_words * EXPECTED_TOKENS_PER_WORD) + EXPECTED_FRAME_TOKENS


def _thought_tokens(job: Job) -> int:
    """Room for a thought in front of the answer: the job's limit for it, if the model thinks."""
    budget, most = job.sampling.thinking_token_budget, job.sampling.max_tokens
    if not budget or not reasoning_of(job).thinks:
        return 0
    return budget if most is None else max(min(budget, most - answer_tokens(job)), 0)


def token_limit(
    answer: Answer, sampling: Sampling, request: Request, room: int, thinks: bool = False
) -> int:
    """Tokens after which a completion is cut off; `room` is what the prompt leaves of the context.

    The limit of the record's own line, the job's, or one that is generous for the words. All of
    `room` where the decoder counts the words itself, or a model thinks first as long as it likes:
    no valid answer is cut off while there is room.
    """
    budget = _budget(sampling, request)
    is_open = answer.decoding == "enforced" or (thinks and budget is None)
    generous = room if is_open else answer.expected_words * LIMIT_TOKENS_PER_WORD + (budget or 0)
    limit = (sampling.max_tokens or generous + LIMIT_FRAME_TOKENS) * 2**request.lengthened
    return min(request.max_tokens or request.own_limit or limit, room)


def thought_limit(
    answer: Answer, sampling: Sampling, request: Request, limit: int, thinks: bool
) -> int | None:
    """Tokens after which a thought is ended, so that `limit` leaves an answer its room behind it.

    None if the model decides: where nothing but the context limits the completion.
    """
    budget = _budget(sampling, request)
    if not thinks or not (budget is not None or sampling.max_tokens or request.own_limit):
        return budget
    left = max(limit - _expected(answer), 0)
    return left if budget is None else min(budget, left)


def completion_limit(job: Job) -> int | None:
    """Tokens after which a completion is cut off however much room there is; None if the context
    is all that limits it, as with a model that thinks as long as it likes.
    """
    budget = job.sampling.thinking_token_budget
    if job.sampling.max_tokens:
        return job.sampling.max_tokens
    if budget is None and reasoning_of(job).thinks:
        return None
    return job.answer.expected_words * LIMIT_TOKENS_PER_WORD + LIMIT_FRAME_TOKENS + (budget or 0)


def _budget(sampling: Sampling, request: Request) -> int | None:
    """The limit of a thought that the record's own line sets, or the job."""
    line = request.prompt.record.batch
    own = line.sampling.get("thinking_token_budget") if line else None
    return sampling.thinking_token_budget if own is None else own
