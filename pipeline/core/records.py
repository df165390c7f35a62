"""Record, prompt, completion, attempt, answer, and the closed sets of outcomes.

The smallest are named tuples: a run creates hundreds of millions of them, and frozen dataclasses
take several times as long.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

ClaimKind: TypeAlias = Literal[
    "unsupported",  # the prompt does not hold it
    "derived",  # it follows from what the prompt holds: a sum, another unit, a rounded number
    "general",  # a remark about the world at large, not about the paper
]
"""What the prompt holds of something that an answer states."""

Verdict: TypeAlias = Literal["yes", "no", "unsure"]
"""Whether an answer gives the information that its question asks for."""

Status: TypeAlias = Literal["answered", "failed"]
Stance: TypeAlias = Literal["answered", "hedged", "abstained"]
Level: TypeAlias = Literal["fail", "label", "off"]

FinishReason: TypeAlias = Literal["stop", "length", "abort", "error", "repetition"]
"""Why a generation ended, in vLLM's terms; a recorded answer has none."""

RejectReason: TypeAlias = Literal[
    "invalid_json",  # a line that is not one JSON document
    "invalid_csv",  # a row with quotes or a number of cells that fit no table
    "wrong_type",  # a field, or the line itself, has the wrong type
    "missing_field",  # no question or passages, or a field that the template needs
    "not_utf8",  # text in another encoding, or no text
    "too_large",  # over input.max_record_bytes or input.max_expansion
    "unparsable_text",  # a text file that does not follow the grammar of input.text
    "empty_file",  # a shard without a single record
    "truncated",  # a compressed shard that ends too early
    "corrupt",  # a damaged shard, or a damaged part of one
    "unknown_kind",  # a file that no reader handles
    "unreadable",  # a file or folder that has vanished, is protected, or is no file and no folder
    "too_long",  # a prompt that leaves no room for an answer in the model's context window
    "unsupported",  # a line of a batch file that asks for what this job cannot do
    "failed_request",  # a line of a batch's output whose request failed
]

ReplicaState: TypeAlias = Literal[
    "placed",  # it has its GPUs
    "loading",  # its first batch has arrived, the model is being loaded
    "ready",  # it can answer
    "answering",  # it has answered another batch; reported once per batch
]

State: TypeAlias = Literal["current", "answered", "failed", "rejected"]
"""How a record ends: every record read reaches exactly one of these."""

Standing: TypeAlias = Literal[
    "work",  # still to be generated; only between stages
    "current",  # the store holds its answer
    "current_failed",  # the store holds its failed answer
    "answered",
    "failed",
    "rejected",
    "rejected_before",  # the store already holds its reject
    "identical",  # no record of its own: the same one stands further in front, word for word
    "tally",  # not a record: how many records a read task has passed on
]
"""The status of a row in the flow. Each maps to a `State`, except `work`, `identical`, `tally`."""

ANSWER_MARKER = "Answer:::"

ENGINE_ERROR = "engine_error"
"""The name under which a record fails if the engine gave no answer; it checks no text."""

PAYLOAD_BYTES = 64 * 1024
"""How much of the rejected input a reject keeps, at most."""

PLAIN = "plain"
"""The role of a ready prompt that is plain text: it goes to the model as it is, without a chat
template."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A follow-up message to the model about its last answer, as the next user turn."""

    words: str


Repair: TypeAlias = Ask | Literal["sample_anew", "more_tokens"]
"""What the next attempt changes after a failed check; a check without a repair is final."""


class Place(NamedTuple):
    """Where in the input a record comes from."""

    uri: str
    row: int  # from 0: a line of a JSONL or CSV shard, a row of Parquet, an element of an array


class Passage(NamedTuple):
    text: str
    source: str | None = None


class Message(NamedTuple):
    role: str
    content: str


@dataclass(frozen=True, slots=True)
class BatchLine:
    """What a line of a batch file says besides its messages or its answer.

    A request has a model and sampling parameters, under vLLM's names, with `response_format` as in
    OpenAI's protocol. An answer of a batch's output says how it ended and how many tokens it took.
    """

    model: str | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    finish_reason: FinishReason | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0  # of the completion's


@dataclass(frozen=True, slots=True)
class Record:
    """One question about one paper with its context passages, or a ready prompt."""

    record_id: str
    place: Place
    paper_id: str | None = None
    question_id: str | None = None
    question: str | None = None
    passages: tuple[Passage, ...] = ()
    messages: tuple[Message, ...] = ()  # a ready prompt, for `prompt: verbatim`
    recorded_answer: str | None = None
    boilerplate: str = ""  # text of a ready prompt that is neither passage nor question
    extra: Mapping[str, Any] = field(default_factory=dict)
    repairs: tuple[str, ...] = ()
    batch: BatchLine | None = None  # of a line of a batch file

    @property
    def paper(self) -> str:
        """The paper's id; a record without one is a paper of its own."""
        return self.record_id if self.paper_id is None else self.paper_id


@dataclass(frozen=True, slots=True)
class Reject:
    """Input that cannot become a prompt; `payload` holds its first `PAYLOAD_BYTES` at most."""

    record_id: str
    reason: RejectReason
    detail: str
    place: Place
    payload: bytes = b""

    @property
    def paper(self) -> str:
        """Its own id: a reject belongs to no paper."""
        return self.record_id


class Fault(Exception):
    """A fault of the input: raised by a parser, caught where the record's place is known."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    def at(self, place: Place, payload: bytes, record_id: str | None = None) -> Reject:
        """The reject for this fault, whose id is `<uri>#<row>` unless the record has one."""
        return Reject(
            record_id or f"{place.uri}#{place.row}",
            self.reason,
            self.detail,
            place,
            payload[:PAYLOAD_BYTES],
        )


class WholeShard(NamedTuple):
    """A shard of which all bytes are known."""

    uri: str
    number: int  # its place in the input
    size: int  # in bytes as stored
    digest: str  # of these bytes, and of the columns that its folders give to its records


class ItemBlock(NamedTuple):
    """What a read task hands on at a time."""

    records: Sequence[Record]
    identities: Sequence[bytes]  # of the records, see `core/identity.py`
    rejects: Sequence[Reject]
    stored_bytes: int  # of the shards, as far as they were read for it
    shard: WholeShard | None = None  # if nothing else is in the block, and its bytes are known
    ends_shard: bool = False

    @property
    def read(self) -> int:
        """Records and rejects, to be compared with what arrives."""
        return len(self.records) + len(self.rejects)


@dataclass(frozen=True, slots=True)
class Prompt:
    """The messages rendered from a record, with their two keys."""

    record: Record
    messages: tuple[Message, ...]
    boilerplate: str  # text that is neither passage nor question
    prompt_key: str
    generation_key: str


class Split(NamedTuple):
    """A completion in two: what a model thought, and what it said then.

    A thought that is not closed is followed by nothing.
    """

    reasoning: str
    content: str
    is_closed: bool = True


@dataclass(frozen=True, slots=True)
class Completion:
    """The model's output, verbatim; token counts are 0 for engines without tokens."""

    text: str
    finish_reason: FinishReason | None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    context_full: bool = False  # stopped by the end of the context window, not by max_tokens
    reasoning_tokens: int = 0  # of the completion's
    split: Split | None = None  # by the engine; else by the rules of `answering.reasoning`
    confidence: float | None = None  # mean log probability of the answer's tokens
    probabilities: Mapping[str, float] | None = None  # of each choice, where the answer is one
    tokens: Sequence[int] = ()  # as generated, where a judge goes on behind them
    generated_for: str | None = None  # the id of another record that it was generated for

    @property
    def reasoning(self) -> str:
        return self.split.reasoning if self.split else ""

    @property
    def content(self) -> str:
        """What was said after the thought: everything, for a model that does not think."""
        return self.split.content if self.split else self.text


class Claim(NamedTuple):
    """Something that an answer states and its prompt does not hold in so many words.

    `start` and `end` are offsets into the text that was checked: the answer, or the prose of a
    document. `message`, `source_start` and `source_end` give the nearest place in the prompt, with
    offsets into that message's content; null where there is none.
    """

    kind: ClaimKind
    text: str
    start: int
    end: int
    message: int | None = None
    source_start: int | None = None
    source_end: int | None = None


class CheckResult(NamedTuple):
    name: str
    passed: bool
    level: Level
    evidence: str
    claims: tuple[Claim, ...] = ()


class Judgement(NamedTuple):
    """What a rater says of an answer; `key` tells what was judged, and how."""

    rater: str
    value: str
    probability: float | None  # of the value; None where the engine gives none
    evidence: str | None  # the probabilities of all choices, as JSON
    key: str


class JudgeCounts(NamedTuple):
    """What judging took: verdicts, answers left without one, and the tokens of its requests."""

    judged: int = 0
    unjudged: int = 0
    judge_prompt_tokens: int = 0
    judge_cached_tokens: int = 0
    judge_completion_tokens: int = 0

    @property
    def nonzero(self) -> dict[str, int]:
        if not any(self):  # as without a judge
            return {}
        return {name: count for name, count in self._asdict().items() if count}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One generation for a record in one run, with the checks at level `fail` that it failed."""

    completion: Completion
    failed_checks: tuple[str, ...]
    asked: str | None = None  # of a repair: its message, or what else was changed


@dataclass(frozen=True, slots=True)
class Answered:
    """A run's outcome for one prompt: the answer, its checks, and all attempts."""

    prompt: Prompt
    answer: str
    document: str | None  # the answer as JSON, where it is a document
    stance: Stance
    completion: Completion  # of the attempt that gave this answer
    checks: tuple[CheckResult, ...]
    attempts: tuple[Attempt, ...]
    answers_question: Verdict | None = None  # of an answer in prose
    p_answered: float | None = None  # the probability that it does
    judgements: tuple[Judgement, ...] = ()
    judging: JudgeCounts = JudgeCounts()  # noqa: RUF009  it cannot change

    @property
    def failed_checks(self) -> tuple[str, ...]:
        return failing(self.checks)

    @property
    def generations(self) -> list[Completion]:
        """The completions that were generated for this record, and not for an equal one."""
        completions = (attempt.completion for attempt in self.attempts)
        return [completion for completion in completions if completion.generated_for is None]

    @property
    def claims(self) -> list[tuple[str, Claim]]:
        """What the answer states and its prompt does not hold, by the checks that found it."""
        return [(check.name, claim) for check in self.checks for claim in check.claims]

    @property
    def status(self) -> Status:
        return "failed" if self.failed_checks else "answered"


def failing(checks: tuple[CheckResult, ...]) -> tuple[str, ...]:
    """Names of the checks that make an answer fail: those at level `fail` that did not pass."""
    return tuple([c.name for c in checks if not c.passed and c.level == "fail"])
