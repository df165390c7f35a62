"""How long a prompt may be: what a model's context leaves beside the answer."""

from collections.abc import Sequence
from functools import cached_property
from math import ceil

from pipeline.config.schema import Job
from pipeline.core.errors import ConfigError
from pipeline.core.records import Fault, Message
from pipeline.engines.model_files import context_tokens
from pipeline.engines.tokenizer import PromptEncoder, load_encoder

TOKENS_PER_WORD = 4 / 3
"""Of English prose under common tokenizers."""

FRAME_TOKENS = 16
TEMPLATE_TOKENS = 512
"""More than a chat template adds to a prompt."""


class Room:
    """Counts tokens where a prompt might be too long, and only there.

    No token is less than a byte, so that most prompts are seen to fit by their bytes alone, and a
    process that meets no longer one never loads a tokenizer.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self.context = context_tokens(job)
        self.answer = answer_tokens(job)
        if self.context <= self.answer:
            raise ConfigError(
                f"engine.options.max_model_len: {self.context} tokens hold no prompt beside an "
                f"answer of {self.answer}; raise it, or lower answer.max_words"
            )

    @cached_property
    def _encoder(self) -> PromptEncoder:
        return load_encoder(self._job)

    def check(self, messages: Sequence[Message]) -> None:
        """Raises `Fault`, with the prompt's tokens and the room, for a prompt that is too long."""
        room = self.context - self.answer
        if sum(len(m.content.encode()) for m in messages) + TEMPLATE_TOKENS <= room:
            return
        tokens = len(self._encoder.encode(messages))
        if tokens > room:
            raise Fault(
                "too_long",
                f"the prompt has {tokens:,} tokens; a context of {self.context:,} leaves "
                f"{room:,} beside an answer of {self.answer:,}",
            )


def answer_tokens(job: Job) -> int:
    """What an answer needs: its words at the common rate, or less where the job allows less."""
    needed = ceil(job.answer.max_words * TOKENS_PER_WORD) + FRAME_TOKENS
    return min(needed, job.sampling.max_tokens or needed)
