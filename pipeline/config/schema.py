"""The sections and keys of a job file with their types, defaults and limits.

A class is a section, a field is a key. The README's table says what each key does.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    model_serializer,
    model_validator,
)

from pipeline.config.bucket import WHOLE, Bucket
from pipeline.config.checks import Checks
from pipeline.config.choices import checked_choices
from pipeline.config.deadline import DeadlineKey
from pipeline.config.gpus import gpus_per_rank, spans_nodes
from pipeline.config.json_schema import read_schema
from pipeline.config.sampling import Sampling as Sampling
from pipeline.config.sections import SECTION, yaml_off
from pipeline.core.carried import NOTHING, Carry
from pipeline.core.errors import ConfigError
from pipeline.core.records import ANSWER_MARKER
from pipeline.core.storage_options import by_store, check_writable

InputFormat = Literal["auto", "text", "jsonl", "json", "csv", "tsv", "parquet", "openai-batch"]
EngineKind = Literal["extractive", "recorded", "vllm", "openai"]


class Section(BaseModel):
    model_config = SECTION


class TextGrammar(Section):
    """The fixed parts of a text record.

    A record is: `preamble`, blank line, context, blank line, `before_instructions`, instructions,
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


ColumnName = Annotated[str | None, Field(min_length=1)]


CONTENT = ("question", "passages", "prompt", "messages")
"""Fields of which a prompt is made."""


class Fields(Section):
    """The user's columns that hold our fields, where these have other names than ours.

    A dot leads into an object, unless a column has it in its own name.
    """

    record_id: ColumnName = None
    paper_id: ColumnName = None
    question_id: ColumnName = None
    question: ColumnName = None
    passages: ColumnName = None
    prompt: ColumnName = None
    messages: ColumnName = None
    recorded_answer: ColumnName = None


NEW_FIRST = "new first"
"""The `input.priority` by which records without an answer come before those that have one."""


class Input(Section):
    uri: str = Field(min_length=1)  # a file, folder or glob
    store: str | None = Field(default=None, min_length=1)  # in place of `uri`: answers to judge
    format: InputFormat = "auto"
    fields: Fields = Fields()
    bucket: Annotated[Bucket, PlainValidator(Bucket.parse), PlainSerializer(str)] = WHOLE
    max_record_bytes: int = Field(default=4 * 2**20, gt=0)
    max_expansion: float = Field(default=200, ge=1)  # bytes in memory per stored byte
    overflow: Literal["reject", "drop_passages"] = "reject"
    grouped: bool = False  # whether the records of a paper are adjacent in the input
    priority: str | None = Field(default=None, min_length=1)  # a column, or `NEW_FIRST`
    text: TextGrammar = TextGrammar()

    @model_validator(mode="before")
    @classmethod
    def _of_store(cls, value: Any) -> Any:
        """Of a store the answers are the input."""
        if not isinstance(value, dict) or not isinstance(store := value.get("store"), str):
            return value
        uri = f"{store.rstrip('/')}/answers"
        if value.get("uri", uri) != uri:
            raise ValueError("store: stands in place of uri; keep one of them")
        return {**value, "uri": uri}

    @model_validator(mode="after")
    def _has_columns(self) -> Self:
        named = self.fields.model_dump(exclude_none=True)
        if self.format == "text" and named:
            raise ValueError("fields: text files have no columns; leave it out")
        if self.format == "openai-batch" and (content := sorted({*named} & {*CONTENT})):
            raise ValueError(
                f"fields.{content[0]}: a line of a batch file has its prompt in its body; "
                "leave it out"
            )
        return self


class PromptChoice(Section):
    template: str = Field(default="verbatim", min_length=1)  # or the path of a template
    passages: Literal["as_given", "shared_first"] = "as_given"


def _prompt_choice(value: Any) -> Any:
    return {"template": value} if isinstance(value, str) else value


class Pool(Section):
    """The number of replicas, which follows the amount of work between `min` and `max`."""

    min: int = Field(gt=0)
    max: int = Field(gt=0)

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, value: Any) -> Any:
        if isinstance(value, (dict, Pool)):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            if value < 1:
                raise ValueError("input should be greater than 0")
            return {"min": value, "max": value}
        raise ValueError("write a number, or a mapping with min and max")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) is above max ({self.max})")
        return self

    @model_serializer
    def _as_given(self) -> Any:
        return self.min if self.is_fixed else {"min": self.min, "max": self.max}

    @property
    def is_fixed(self) -> bool:
        return self.min == self.max

    def __str__(self) -> str:
        return str(self.min) if self.is_fixed else f"{self.min} to {self.max}"


class EngineLimits(Section):
    """What an endpoint allows; where it says so itself, the lower one of both holds."""

    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)


class EngineConfig(Section):
    kind: EngineKind = "extractive"
    model: str | None = None  # a folder, a hub name, or a folder in an object store
    revision: str | None = None
    replicas: Pool = Pool(min=1, max=1)
    placement: Literal["spread", "packed"] = "spread"
    gpus_per_replica: int | None = Field(default=None, ge=0)
    accelerator_type: str | None = None
    start_seconds: int = Field(default=1800, gt=0)  # to be placed, and again to load the model
    stall_seconds: float = Field(default=300, gt=0)  # without a token before a restart
    reasoning: Annotated[str, BeforeValidator(yaml_off)] = Field(default="auto", min_length=1)
    chat_template_kwargs: dict[str, Any] = {}  # arguments of the model's chat template
    confidence: bool = False  # whether log probabilities of the answer's tokens are kept
    equal_prompts: Literal["once", "each"] = "once"  # how often those of one key are generated
    adapter: str | None = None  # a LoRA adapter, named as a model may be
    limits: EngineLimits = EngineLimits()  # of each endpoint, for all replicas together
    generation_options: list[str] = []  # names in `options` that are part of the generation key
    options: dict[str, Any] = {}  # passed on to the engine

    @property
    def gpus(self) -> int:
        """GPUs per replica: by default those that vLLM's options need, none for other engines."""
        if self.gpus_per_replica is None:
            return gpus_per_rank(self.options) if self.kind == "vllm" else 0
        return self.gpus_per_replica

    @property
    def spans_nodes(self) -> bool:
        """Whether a replica has a placement group of its own, which may cover several nodes."""
        return spans_nodes(self.options)

    @property
    def generates(self) -> bool:
        """Whether a model writes the answers, so that another attempt may give another answer."""
        return self.kind in ("vllm", "openai")


class Markers(Section):
    """What stands around an answer; two empty texts for nothing."""

    begin: str = ANSWER_MARKER
    end: str = ANSWER_MARKER

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if bool(self.begin.strip()) != bool(self.end.strip()):
            raise ValueError("write both begin and end, or none for no frame")
        if self.begin.strip() != self.begin or "\n" in self.begin + self.end:
            raise ValueError("a marker is one line without spaces around it")
        return self


def _markers(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return {"begin": "", "end": ""} if value == "none" else {"begin": value, "end": value}


class Answer(Section):
    max_words: int = Field(default=399, gt=0)
    decoding: Literal["free", "enforced"] = "free"
    frame: Annotated[Markers, BeforeValidator(_markers)] = Markers()
    choices: Annotated[list[str], AfterValidator(checked_choices)] = []  # the answer is one of them
    schema_: Annotated[dict[str, Any] | None, BeforeValidator(read_schema)] = Field(
        default=None, alias="schema"
    )  # a file's path, or the schema itself
    estimate: bool = True  # whether each answer gives what its question asks for

    @model_validator(mode="after")
    def _one_format(self) -> Self:
        has_schema = self.schema_ is not None
        formats = {"frame": self.frame != Markers(), "choices": self.choices, "schema": has_schema}
        named = [name for name, is_set in formats.items() if is_set]
        if len(named) > 1:
            raise ValueError(f"{' and '.join(named)}: an answer has one format; keep one of them")
        return self

    @property
    def expected_words(self) -> int:
        """How many words an answer has at most: those of the longest choice, where it is one."""
        return max((len(choice.split()) for choice in self.choices), default=self.max_words)


class JudgeConfig(Section):
    """A model's verdict on each answer, asked as the next turn of the same conversation."""

    template: str = Field(default="conf/prompts/judge-answers.md", min_length=1)
    choices: Annotated[list[str], Field(min_length=2), AfterValidator(checked_choices)] = [
        "yes",
        "no",
        "unsure",
    ]
    when: Literal["always", "unsure"] = "always"


def _carry(value: Any) -> Any:
    names = value if isinstance(value, (list, tuple)) else None
    if value == "all" or (names is not None and all(isinstance(n, str) and n for n in names)):
        return value if names is None else tuple(dict.fromkeys(names))
    raise ValueError("write a list of columns of the input, or all")


def _writable(uri: str) -> str:
    try:
        check_writable(uri)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return uri


def _by_scheme(storage: dict[str, Any]) -> dict[str, Any]:
    try:
        by_store(storage)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return storage


class Output(Section):
    uri: Annotated[str, AfterValidator(_writable)] = Field(min_length=1)
    append_only: bool = False  # never overwrite or delete a file
    rows_per_file: int | None = Field(default=None, gt=0)
    flush_seconds: float = Field(default=60.0, gt=0)  # the longest that an answer stays unstored
    carry: Annotated[Carry, BeforeValidator(_carry)] = NOTHING  # columns to stand beside answers


class Price(Section):
    """Prices in a currency of the user's choice: per million tokens and per GPU hour."""

    currency: str = Field(default="USD", min_length=1, max_length=8)
    prompt: float | None = Field(default=None, ge=0)
    cached: float | None = Field(default=None, ge=0)
    completion: float | None = Field(default=None, ge=0)
    gpu_hour: float | None = Field(default=None, ge=0)

    def of_tokens(self, prompt: int, cached: int, completion: int) -> float | None:
        """The price of these tokens, or None if the job file gives no price for tokens.

        `cached` counts the tokens of `prompt` that the prefix cache held; without a price of their
        own they cost as much as the others.
        """
        if self.prompt is None and self.completion is None:
            return None
        per_prompt = self.prompt or 0.0
        per_cached = per_prompt if self.cached is None else self.cached
        millionths = (prompt - cached) * per_prompt + cached * per_cached
        return (millionths + completion * (self.completion or 0.0)) / 1e6

    @property
    def is_given(self) -> bool:
        """Whether anything has a price."""
        return any(
            p is not None for p in (self.prompt, self.cached, self.completion, self.gpu_hour)
        )


class Report(Section):
    price: Price = Price()


class Notify(Section):
    """The message that is posted to the URL in `OVERNIGHT_WEBHOOK` when a run ends."""

    format: Literal["json", "slack"] = "json"
    answers: int = Field(default=0, ge=0)  # failed answers to quote


ROWS_QUOTED, ROWS_GENERATED = 4000, 200
"""Default rows per part, without and with a model: seconds of work for an engine either way."""


class Job(Section):
    name: str = Field(min_length=1, pattern=r"^[\w.-]+$")
    input: Input
    prompt: Annotated[PromptChoice, BeforeValidator(_prompt_choice)] = PromptChoice()
    engine: EngineConfig = EngineConfig()
    sampling: Sampling = Sampling()
    answer: Answer = Answer()
    checks: Checks = {}
    judge: JudgeConfig | None = None
    attempts: int = Field(default=3, gt=0)  # generations per record, at most
    failure_budget: float = Field(default=0.05, ge=0, le=1)  # share of answers that may fail
    reject_budget: float = Field(default=0.5, ge=0, le=1)  # share of records that may be rejects
    budget: float | None = Field(default=None, gt=0)  # money, in the currency of report.price
    grace_seconds: float = Field(default=20, ge=0)  # after SIGTERM, to finish work in flight
    deadline: DeadlineKey | None = None  # by when a run has ended, done or not
    output: Output
    report: Report = Report()
    notify: Notify = Notify()
    storage: Annotated[dict[str, Any], AfterValidator(_by_scheme)] = {}  # or flat, for s3://

    @model_validator(mode="after")
    def _estimates_for_the_judge(self) -> Self:
        if self.judge and self.judge.when == "unsure" and not self.answer.estimate:
            raise ValueError("judge.when: unsure goes by answer.estimate, which is off; write true")
        return self

    @model_validator(mode="after")
    def _priced(self) -> Self:
        if self.budget is not None and not self.report.price.is_given:
            raise ValueError(
                "budget: nothing has a price; set report.price.prompt and report.price.completion, "
                "or report.price.gpu_hour"
            )
        if self.budget is not None and not self.engine.generates and not self.engine.gpus:
            raise ValueError(f"budget: the {self.engine.kind} engine costs nothing; leave it out")
        return self

    @model_validator(mode="after")
    def _judges_in_place(self) -> Self:
        store = self.input.store
        if store is not None and self.judge is None:
            raise ValueError("judge: missing; the answers of input.store are there to be judged")
        if store is not None and store.rstrip("/") != self.output.uri.rstrip("/"):
            raise ValueError(
                "output.uri: judgements stand in the rows of the answers that they judge; write "
                f"{store} here too, as in input.store"
            )
        return self

    @property
    def rows_per_file(self) -> int:
        """Rows per part, and per batch of an engine, at most."""
        return self.output.rows_per_file or (
            ROWS_GENERATED if self.engine.generates else ROWS_QUOTED
        )
