"""The job file: YAML, checked whole before anything starts.

Paths in it are relative to the folder that the command runs in, as on a command line.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, cast, get_args, get_origin

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    model_serializer,
    model_validator,
)

from pipeline.config.bucket import WHOLE, Bucket
from pipeline.core.errors import ConfigError
from pipeline.core.records import Level
from pipeline.core.redaction import SECRET_NAME
from pipeline.core.suggest import nearest

InputFormat = Literal["auto", "text", "jsonl", "parquet", "openai-batch"]
EngineKind = Literal["extractive", "recorded", "vllm", "openai"]

_USERINFO = re.compile(r"://[^/@\s]+:[^/\s]+@")

_NAME = re.compile(r"\w+(\.\w+)*")

_OF_YAML = re.compile(r"\b(alias|anchor|tag(?: handle)?) .*")
"""Where YAML's words on a fault quote what stands there."""

_OPEN = ("storage", "engine.options")
"""Sections of names that others choose: what stands in their place may be anything."""


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


class Engine(Section):
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
    engine: Engine = Engine()
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


def load_job(path: str | Path, overrides: Sequence[str] = ()) -> Job:
    """Reads and checks a job file, with `key=value` overrides laid over it.

    Raises `ConfigError`, naming the file and the field, for anything that is not as it should be.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the job file cannot be read: {error}") from error
    try:
        data = yaml.load(text, Loader=_StrictLoader)  # noqa: S506  a SafeLoader
    except (yaml.YAMLError, ValueError) as error:  # the latter of a 31st of February
        raise ConfigError(f"{path}: not YAML: {_fault_of(error)}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: a job file is a mapping with name, input and output")
    for override in overrides:
        _lay_over(data, override)
    _refuse_secrets(str(path), data)
    try:
        return Job.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_explain(str(path), error)) from None  # its words hold the values


class _StrictLoader(yaml.SafeLoader):
    """A SafeLoader for which the same key twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key_node.value!r} stands here twice", key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def _lay_over(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        begins = _NAME.match(key)
        shown = begins[0] if begins else ""  # what follows may be a value
        raise ConfigError(f"{shown!r}: an override reads key=value, as in engine.kind=extractive")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{key}: the override's value is not YAML: {_fault_of(error)}") from None
    *sections, name = key.split(".")
    for section in sections:
        held = data.get(section)
        # `prompt: FILE` is short for a mapping; an override may reach into it all the same.
        if section == "prompt" and isinstance(held, str):
            held = {"template": held}
        if held is not None and not isinstance(held, dict):
            raise ConfigError(f"{key}: {section} holds a value, not a section")
        data[section] = held = held or {}
        data = held
    data[name] = value


def _fault_of(error: Exception) -> str:
    """What is wrong and where, without the line itself, which may be the one with a password."""
    said = _OF_YAML.sub(r"\1", getattr(error, "problem", None) or type(error).__name__)
    mark = getattr(error, "problem_mark", None)
    return f"{said}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(said)


def _refuse_secrets(path: str, data: Any) -> None:
    for place, key, value in _leaves(data, ""):
        if SECRET_NAME.search(key) and value is not None:
            raise ConfigError(
                f"{path}: {place}: a job file holds no secrets; credentials come from the "
                "environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile)"
            )
        if isinstance(value, str) and _USERINFO.search(value):
            raise ConfigError(
                f"{path}: {place}: a password in a URI; credentials come from the environment"
            )


def _leaves(value: Any, place: str, key: str = "") -> Iterator[tuple[str, str, Any]]:
    if isinstance(value, dict):
        for name, held in value.items():
            # What a secret's name stands over is secret, too.
            under = key if SECRET_NAME.search(key) else str(name)
            yield from _leaves(held, f"{place}.{name}" if place else str(name), under)
    elif isinstance(value, list):
        for held in value:
            yield from _leaves(held, place, key)
    else:
        yield place, key, value


def _explain(path: str, error: ValidationError) -> str:
    """The first fault in a line; that there are more, in a second."""
    faults = error.errors()
    first = faults[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        *parents, name = first["loc"]
        said = f"unknown key{nearest(str(name), _known_keys(parents))}"
    elif first["type"] == "missing":
        said = "missing; a job needs it"
    else:
        msg = first["msg"].removeprefix("Value error, ")
        shown = "" if place in _OPEN else f" (it is {first['input']!r})"
        said = f"{msg[0].lower()}{msg[1:]}{shown}"
    more = f"\n{len(faults) - 1} more: " if len(faults) > 1 else ""
    rest = ", ".join(".".join(str(part) for part in fault["loc"]) for fault in faults[1:])
    return f"{path}: {place}: {said}{more}{rest}"


def _known_keys(parents: Sequence[int | str]) -> list[str]:
    section: type[BaseModel] = Job
    for parent in parents:
        section = _section_of(section.model_fields[str(parent)].annotation)
    return list(section.model_fields)


def _section_of(annotation: Any) -> type[BaseModel]:
    """The section class inside `X | None` and the like."""
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return next(s for a in get_args(annotation) if (s := _section_of(a)))
    return cast(type[BaseModel], annotation)
