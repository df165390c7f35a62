"""The shape of an engine: what it is asked, what it says, and how it fails."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

from pipeline.core.records import Ask, Completion, Message, Prompt


@dataclass(frozen=True, slots=True)
class Request:
    """What one attempt asks of an engine.

    `messages` are the prompt's, and after an answer that failed also that answer and what was said
    about it. The counters tell the engine how this attempt must differ from those before it.
    """

    prompt: Prompt
    messages: tuple[Message, ...]
    attempt: int = 0  # how many attempts at this record came before
    sampled_anew: int = 0  # how many of them are to be sampled differently from
    lengthened: int = 0  # how many times the token limit is doubled
    most_tokens: int | None = None  # a limit below the engine's own, for a trial

    @classmethod
    def first(cls, prompt: Prompt) -> Self:
        return cls(prompt, prompt.messages)

    def again(
        self, said: Completion, asks: tuple[Ask, ...] = (), anew: bool = False, longer: bool = False
    ) -> Self:
        """The next attempt. Only the latest answer is talked about: the prefix stays the prompt's,
        and the conversation stays short.
        """
        messages = self.messages
        if asks:
            words = " ".join(ask.words for ask in asks)
            talk = Message("assistant", said.text), Message("user", words)
            messages = (*self.prompt.messages, *talk)
        return replace(
            self,
            messages=messages,
            attempt=self.attempt + 1,
            sampled_anew=self.sampled_anew + anew,
            lengthened=self.lengthened + longer,
        )


ANEW_TEMPERATURE = 0.7
"""At temperature 0 an attempt that is to sample anew would say the same again; see the temperature
fallback of Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", 2022."""


def varied(sampling: Mapping[str, Any], request: Request) -> dict[str, Any]:
    """Sampling parameters under which this attempt differs from those before it."""
    chosen = dict(sampling)
    if request.attempt and chosen.get("seed") is not None:
        chosen["seed"] += request.attempt
    if request.sampled_anew and chosen.get("temperature") == 0:
        chosen["temperature"] = ANEW_TEMPERATURE
    return chosen


class Engine(Protocol):
    """Prompt in; text, finish reason and token counts out. Many requests may be open at a time.

    `version` changes when the same prompt would be answered by another code.
    """

    kind: str
    version: str

    async def generate(self, request: Request) -> Completion:
        """Raises `GenerationError` where this record alone cannot be answered, and `EngineError`
        where none can.
        """
        ...


class GenerationError(Exception):
    """An engine could not answer one record, whatever was tried; others are not concerned."""
