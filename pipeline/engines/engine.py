"""The interface of an engine: what it is asked, what it returns, and how it fails."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

from pipeline.config.schema import Job
from pipeline.core.records import Ask, Completion, Message, Prompt
from pipeline.engines.batch_lines import sampling_with


@dataclass(frozen=True, slots=True)
class Request:
    """One attempt at a record.

    `messages` are the prompt's; after a failed answer, also that answer and what is to be changed
    about it. The counters say how this attempt must differ from the earlier ones.
    """

    prompt: Prompt
    messages: tuple[Message, ...]
    attempt: int = 0  # earlier attempts at this record
    resampled: int = 0  # how many of them asked for another sample
    lengthened: int = 0  # how many times the token limit is doubled
    max_tokens: int | None = None  # a limit below the engine's own, for a trial
    choices: tuple[str, ...] = ()  # of a judge's verdict; an answer has the job's own format
    said: Completion | None = None  # the answer that a verdict is on

    @property
    def own_limit(self) -> int | None:
        """The token limit that the record's own line sets, which no repair passes."""
        line = self.prompt.record.batch
        return line.sampling.get("max_tokens") if line else None

    @classmethod
    def first(cls, prompt: Prompt) -> Self:
        return cls(prompt, prompt.messages)

    @classmethod
    def judging(
        cls, prompt: Prompt, completion: Completion, turn: str, choices: tuple[str, ...]
    ) -> Self:
        """The request for a verdict on a completion, without the thought behind it; such a request
        goes before first attempts, as long as the cache has the answer.
        """
        turns = Message("assistant", completion.content), Message("user", turn)
        messages = (*prompt.messages, *turns)
        return cls(prompt, messages, attempt=1, choices=choices, said=completion)

    def retry(
        self,
        completion: Completion,
        asks: tuple[Ask, ...] = (),
        resample: bool = False,
        lengthen: bool = False,
    ) -> Self:
        """The attempt after `completion`. Only the latest answer is discussed, so that the prompt
        stays a cached prefix and the conversation stays short. A thought is not sent back: models
        read earlier answers without the thoughts behind them.
        """
        messages = self.messages
        if asks:
            words = " ".join(ask.words for ask in asks)
            turns = Message("assistant", completion.content), Message("user", words)
            messages = (*self.prompt.messages, *turns)
        return replace(
            self,
            messages=messages,
            attempt=self.attempt + 1,
            resampled=self.resampled + resample,
            lengthened=self.lengthened + lengthen,
        )

    @property
    def asked(self) -> str | None:
        """What a repair asks for: its message, or what it changes; None for the first attempt."""
        if not self.attempt:
            return None
        if len(self.messages) > len(self.prompt.messages):
            return self.messages[-1].content
        changes = {"another sample": self.resampled, "more tokens": self.lengthened}
        return " and ".join(what for what, is_so in changes.items() if is_so) or None


RESAMPLING_TEMPERATURE = 0.7
"""Another sample at temperature 0 would be the same answer; see the temperature fallback of Radford
et al., "Robust Speech Recognition via Large-Scale Weak Supervision", 2022."""


def sampling_for(request: Request, sampling: Mapping[str, Any]) -> dict[str, Any]:
    """The job's sampling parameters, with those of the record's own line over them, changed so that
    this attempt differs from earlier ones.
    """
    varied = dict(sampling_with(sampling, request.prompt.record))
    if request.attempt and varied.get("seed") is not None:
        varied["seed"] += request.attempt
    if request.resampled and varied.get("temperature") == 0:
        varied["temperature"] = RESAMPLING_TEMPERATURE
    return varied


def judging_sampling(job: Job) -> dict[str, Any]:
    """The sampling parameters of verdicts: on vLLM those of the likeliest token. An endpoint may
    take few parameters: it gets the job's, with temperature 0 if the job sets one.
    """
    if job.engine.kind == "vllm":
        return {"temperature": 0.0}
    sampling = job.sampling.model_dump(exclude_none=True)
    return {n: 0.0 if n == "temperature" else value for n, value in sampling.items()}


class Engine(Protocol):
    """Takes prompts; returns text, finish reason and token counts. Requests may run concurrently.

    `version` changes when other code would answer the same prompt.
    """

    kind: str
    version: str

    async def generate(self, request: Request) -> Completion:
        """Raises `GenerationError` for this record alone, `EngineError` if none can be answered."""


class GenerationError(Exception):
    """An engine could not answer one record, despite retries; others are not affected, but for
    those that ask the same: `generated_for` is the id of the record that it was tried for then.
    """

    def __init__(self, why: str, generated_for: str | None = None) -> None:
        super().__init__(why)
        self.generated_for = generated_for
