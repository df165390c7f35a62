"""Record, prompt, completion, attempt, answer, and the closed sets of what can become of them.

The smallest are named tuples, which are made several times as fast as frozen dataclasses: a night
makes hundreds of millions of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

Status: TypeAlias = Literal["answered", "failed"]
Stance: TypeAlias = Literal["answered", "hedged", "abstained"]
Level: TypeAlias = Literal["fail", "label", "off"]

FinishReason: TypeAlias = Literal["stop", "length", "abort", "error", "repetition"]
"""Why a generation ended, in vLLM's words; a recorded answer has none."""

RejectReason: TypeAlias = Literal[
    "invalid_json",  # a line that is not one JSON document
    "wrong_type",  # a field, or the line itself, is not of its type
    "missing_field",  # nothing to make a prompt from, or a field that the template needs
    "not_utf8",  # bytes that are no text
    "too_large",  # over input.max_record_bytes
    "unparsable_text",  # a text file outside the grammar of input.text
    "empty_file",  # a shard without a single record
    "truncated",  # a compressed shard that breaks off
    "corrupt",  # a shard, or part of one, whose bytes are damaged
    "unknown_kind",  # a file that no reader knows
    "unreadable",  # a file that vanished, or that may not be read
    "too_long",  # a prompt that leaves no room for an answer in the model's context
]

ReplicaState: TypeAlias = Literal[
    "placed",  # it has its GPUs
    "loading",  # the first work has come, the model is on its way
    "ready",  # it can answer
    "answering",  # it has answered a whole table, and another one whenever it says so again
]

State: TypeAlias = Literal["current", "answered", "failed", "rejected"]
"""Where every record read ends, exactly once."""

Standing: TypeAlias = Literal[
    "work",  # between the stages only: to be generated
    "current",  # the store holds an answer
    "current_failed",  # the store holds an answer that failed
    "answered",
    "failed",
    "rejected",
    "rejected_before",  # the store holds this reject already
    "tally",  # no record: how many records a read task handed on
    "sampled",  # no record: a copy of work, by which the use of the prefix cache is predicted
]
"""A row's place in the flow; all but `work`, `tally` and `sampled` fold into a `State`."""

ANSWER_MARKER = "Answer:::"

ENGINE_ERROR = "engine_error"
"""The check that a record fails which its engine could not answer; no check of an answer."""

PAYLOAD_BYTES = 64 * 1024
"""Most of the bytes of a piece of input that its reject keeps."""

PLAIN = "plain"
"""The role of a ready prompt that is text: it reaches the model as it stands, without a chat
template around it."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Words that go back to the model as its next turn, after the answer that they are about."""

    words: str


Repair: TypeAlias = Ask | Literal["sample_anew", "more_tokens"]
"""What the next attempt does about a failed check; without one, nothing can be done."""


class Place(NamedTuple):
    """Where in the input a record stands.

    `row` counts from 0: lines of a JSONL shard, rows of a Parquet shard, 0 for a text file.
    """

    uri: str
    row: int


class Passage(NamedTuple):
    text: str
    source: str | None = None


class Message(NamedTuple):
    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Record:
    """One question about one paper, with its context passages; or a ready prompt."""

    record_id: str
    place: Place
    paper_id: str | None = None
    question_id: str | None = None
    question: str | None = None
    passages: tuple[Passage, ...] = ()
    messages: tuple[Message, ...] = ()  # a ready prompt, for `prompt: verbatim`
    recorded_answer: str | None = None
    boilerplate: str = ""  # a ready prompt's words that are neither passage nor question
    extra: Mapping[str, Any] = field(default_factory=dict)
    repairs: tuple[str, ...] = ()

    @property
    def paper(self) -> str:
        """What the record belongs to: its paper; one that names none stands alone."""
        return self.record_id if self.paper_id is None else self.paper_id


@dataclass(frozen=True, slots=True)
class Reject:
    """Input that could not become a prompt; `payload` holds at most its first 64 KiB."""

    record_id: str
    reason: RejectReason
    detail: str
    place: Place
    payload: bytes = b""

    @property
    def paper(self) -> str:
        """A reject says of no paper that it belongs to it, and stands alone."""
        return self.record_id


class Fault(Exception):
    """Raised by a parser where it finds the fault, caught once, where the place is known."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    def at(self, place: Place, payload: bytes, record_id: str | None = None) -> Reject:
        """The reject for this fault; without an id of its own it is named by its place."""
        return Reject(
            record_id or f"{place.uri}#{place.row}",
            self.reason,
            self.detail,
            place,
            payload[:PAYLOAD_BYTES],
        )


@dataclass(frozen=True, slots=True)
class Tally:
    """What a read task says that it handed on since its last tally: the sink must find as much.

    `read` counts records and rejects, `stored_bytes` how far that is through the stored shards.
    """

    read: int
    stored_bytes: int


Item: TypeAlias = Record | Reject | Tally


@dataclass(frozen=True, slots=True)
class Prompt:
    """The messages rendered from a record, under their two keys.

    `boilerplate` holds the prompt's words that are neither passage nor question.
    """

    record: Record
    messages: tuple[Message, ...]
    boilerplate: str
    prompt_key: str
    generation_key: str


@dataclass(frozen=True, slots=True)
class Completion:
    """What the model said, word for word; token counts are 0 where an engine has no tokens."""

    text: str
    finish_reason: FinishReason | None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    context_full: bool = False  # cut off by the end of the model's context, not by a token limit


class CheckResult(NamedTuple):
    name: str
    passed: bool
    level: Level
    evidence: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One generation for a record in one run, with the checks it failed at level `fail`."""

    completion: Completion
    failed_checks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """What a run made of one prompt: the answer, its checks, and every attempt on the way.

    `status` is `failed` exactly when `failed_checks` is not empty.
    """

    prompt: Prompt
    answer: str
    stance: Stance
    completion: Completion  # that of the attempt whose answer this is
    checks: tuple[CheckResult, ...]
    attempts: tuple[Attempt, ...]

    @property
    def failed_checks(self) -> tuple[str, ...]:
        return failing(self.checks)

    @property
    def status(self) -> Status:
        return "failed" if self.failed_checks else "answered"


def failing(checks: tuple[CheckResult, ...]) -> tuple[str, ...]:
    """Names of the checks that make an answer fail: not passed, at level `fail`."""
    return tuple(c.name for c in checks if not c.passed and c.level == "fail")


def count_words(text: str) -> int:
    """Words of `text`: runs of characters that are not white space, as `str.split` sees them."""
    return len(text.split())
