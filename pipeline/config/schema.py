"""The job file: YAML, checked whole before anything starts.

Paths in it are relative to the folder that the command runs in, as on a command line.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    model_serializer,
    model_validator,
)

from pipeline.config.bucket import WHOLE, Bucket
from pipeline.core.records import Level

InputFormat = Literal["auto", "text", "jsonl", "parquet", "openai-batch"]
EngineKind = Literal["extractive", "recorded", "vllm", "openai"]


def _yaml_off(value: Any) -> Any:
    """YAML 1.1 reads a bare `off` as false."""
    return "off" if value is False else value


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class TextGrammar(Section):
    """The fixed parts of a text record, in the order in which they stand.

    preamble, blank line, context, blank line, `before_instructions`, instructions,
    `before_question`, question, `after_question`, recorded answer.
    """

    preamble: str = (
        "Use the following pieces of context to answer the question at the end. If you don't "
        "know the answer, just say that you don't know, don't try to make up an answer."
    )
    before_instructions: str = "Question: %INSTRUCTIONS:\n"
    before_question: str = '\n\n%Query\nQuery: "'
    after_question: str = (
        '"\n\nProvide your answer as follows:\n\nAnswer:::\n'
        "Answer: (provide your answer to query in less than 400 words)\n\nAnswer:::\n\n"
        "Helpful Answer:"
    )


class Input(Section):
    uri: str = Field(min_length=1)
    format: InputFormat = "auto"
    bucket: Annotated[Bucket, PlainValidator(Bucket.read), PlainSerializer(str)] = WHOLE
    max_record_bytes: int = Field(default=4 * 2**20, gt=0)
    max_expansion: float = Field(default=200, ge=1)
    overflow: Literal["reject", "drop_passages"] = "reject"
    grouped: bool = False
    text: TextGrammar = TextGrammar()


class PromptChoice(Section):
    template: str = Field(default="verbatim", min_length=1)
    passages: Literal["as_given", "shared_first"] = "as_given"


def _prompt_choice(value: Any) -> Any:
    return {"template": value} if isinstance(value, str) else value


class Pool(Section):
    """How many replicas: as many as there is work for, between `min` and `max`."""

    min: int = Field(gt=0)
    max: int = Field(gt=0)

    @model_validator(mode="before")
    @classmethod
    def _of_a_number(cls, value: Any) -> Any:
        if isinstance(value, (dict, Pool)):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            if value < 1:
                raise ValueError("input should be greater than 0")
            return {"min": value, "max": value}
        raise ValueError("a number, or a mapping with min and max")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min is above max: {self.min} and {self.max}")
        return self

    @model_serializer
    def _as_given(self) -> Any:
        return self.min if self.is_fixed else {"min": self.min, "max": self.max}

    @property
    def is_fixed(self) -> bool:
        return self.min == self.max

    def __str__(self) -> str:
        return str(self.min) if self.is_fixed else f"{self.min} to {self.max}"


class EngineConfig(Section):
    kind: EngineKind = "extractive"
    model: str | None = None
    revision: str | None = None
    replicas: Pool = Pool(min=1, max=1)
    placement: Literal["spread", "packed"] = "spread"
    gpus_per_replica: int | None = Field(default=None, ge=0)
    accelerator_type: str | None = None
    start_seconds: int = Field(default=1800, gt=0)
    stall_seconds: float = Field(default=300, gt=0)
    options: dict[str, Any] = {}

    @property
    def gpus(self) -> int:
        """GPUs of a replica: one where the job file names none and the engine is built for them."""
        if self.gpus_per_replica is None:
            return 1 if self.kind == "vllm" else 0
        return self.gpus_per_replica

    @property
    def generates(self) -> bool:
        """Whether a model speaks, which may say something else when it is asked again."""
        return self.kind in ("vllm", "openai")


class Sampling(Section):
    """Sampling parameters under vLLM's names; those not given are left to the engine."""

    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = None
    min_p: float | None = Field(default=None, ge=0, le=1)
    max_tokens: int | None = Field(default=None, gt=0)
    min_tokens: int | None = Field(default=None, ge=0)
    seed: int | None = None
    stop: list[str] | None = None
    stop_token_ids: list[int] | None = None
    bad_words: list[str] | None = None
    ignore_eos: bool | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None


class Answer(Section):
    max_words: int = Field(default=399, gt=0)
    decoding: Literal["free", "enforced"] = "free"


class Output(Section):
    uri: str = Field(min_length=1)
    append_only: bool = False
    rows_per_file: int | None = Field(default=None, gt=0)


class Price(Section):
    """What is paid, in a currency of the user's own: tokens by the million, GPUs by the hour."""

    currency: str = Field(default="USD", min_length=1, max_length=8)
    prompt: float | None = Field(default=None, ge=0)
    cached: float | None = Field(default=None, ge=0)
    completion: float | None = Field(default=None, ge=0)
    gpu_hour: float | None = Field(default=None, ge=0)

    def of_tokens(self, prompt: int, cached: int, completion: int) -> float | None:
        """Price of so many tokens, the cached ones among those of the prompts; None without one.

        A cached token costs as much as another where the job file does not say.
        """
        if self.prompt is None and self.completion is None:
            return None
        each = self.prompt or 0.0
        cached_each = each if self.cached is None else self.cached
        whole = (prompt - cached) * each + cached * cached_each
        return (whole + completion * (self.completion or 0.0)) / 1e6


class Report(Section):
    price: Price = Price()


class Notify(Section):
    """What is told at the end of a run, to the URL that `OVERNIGHT_WEBHOOK` holds."""

    format: Literal["json", "slack"] = "json"
    answers: int = Field(default=0, ge=0)


ROWS_QUOTED, ROWS_GENERATED = 1000, 200
"""Rows of a part where the job file does not say: seconds of work for an engine either way."""


class Job(Section):
    name: str = Field(min_length=1, pattern=r"^[\w.-]+$")
    input: Input
    prompt: Annotated[PromptChoice, BeforeValidator(_prompt_choice)] = PromptChoice()
    engine: EngineConfig = EngineConfig()
    sampling: Sampling = Sampling()
    answer: Answer = Answer()
    checks: dict[str, Annotated[Level, BeforeValidator(_yaml_off)]] = {}
    attempts: int = Field(default=3, gt=0)
    failure_budget: float = Field(default=0.05, ge=0, le=1)
    grace_seconds: float = Field(default=20, ge=0)
    output: Output
    report: Report = Report()
    notify: Notify = Notify()
    storage: dict[str, Any] = {}

    @property
    def rows_per_file(self) -> int:
        """Most rows of a part, and of a table that an engine works on."""
        return self.output.rows_per_file or (
            ROWS_GENERATED if self.engine.generates else ROWS_QUOTED
        )
