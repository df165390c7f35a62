"""A request as vLLM takes it, and what arrives of its completion. Importing this imports vLLM."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from vllm import SamplingParams
from vllm.logprobs import FlatLogprobs
from vllm.outputs import RequestOutput
from vllm.sampling_params import (
    RepetitionDetectionParams,
    RequestOutputKind,
    StructuredOutputsParams,
)

from pipeline.config.schema import Answer, Job
from pipeline.core.records import FinishReason
from pipeline.engines.choice_probabilities import Candidate, Step
from pipeline.engines.engine import Request, sampling_for
from pipeline.formats import format_of
from pipeline.formats.base import Regex


@dataclass(slots=True)
class Generated:
    """What has arrived of a completion: text in pieces, tokens, and their log probabilities if
    they were asked for.
    """

    pieces: list[str] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)
    candidates: list[dict[int, Candidate]] = field(default_factory=list)  # by token, a step each
    finish_reason: FinishReason | None = None
    cached_tokens: int = 0

    def add(self, update: RequestOutput) -> None:
        (output,) = update.outputs
        self.finish_reason = output.finish_reason
        self.cached_tokens = update.num_cached_tokens or 0
        self.pieces.append(output.text)
        self.tokens.extend(output.token_ids)
        if found := output.logprobs:
            self.log_probabilities.extend(found.logprobs[at] for at in found.start_indices)
            self.candidates.extend(_candidates(found))

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def confidence(self, first: int) -> float | None:
        """Mean log probability of the tokens from the one with this number on."""
        answer = self.log_probabilities[first:]
        return fmean(answer) if answer else None

    def steps(self, first: int, ends: Collection[int]) -> Iterator[Step]:
        """The steps of the answer; `ends` are tokens that are no text."""
        for token, candidates in zip(self.tokens[first:], self.candidates[first:], strict=False):
            known = [
                candidate._replace(text="") if id_ in ends else candidate
                for id_, candidate in candidates.items()
            ]
            written = candidates.get(token)
            yield ("" if written is None or token in ends else written.text), known


def _candidates(found: FlatLogprobs) -> Iterator[dict[int, Candidate]]:
    for start, end in zip(found.start_indices, found.end_indices, strict=True):
        texts = (text or "" for text in found.decoded_tokens[start:end])
        pairs = map(Candidate, texts, found.logprobs[start:end])
        yield dict(zip(found.token_ids[start:end], pairs, strict=True))


def sampling_params(
    job: Job,
    request: Request,
    limit: int,
    thought: int | None,
    logprobs: int | None,
    defaults: Mapping[str, Any],
) -> SamplingParams:
    """vLLM's parameters for a request: those of its record's own line, over the job's, over the
    `defaults` that the model came with. `limit` and `thought` are limits in tokens, `logprobs` is
    how many of the likeliest tokens of each step come along, beside the one that was written.
    """
    of_job = {**defaults, **job.sampling.model_dump(exclude_none=True)}
    chosen = {**sampling_for(request, of_job), "max_tokens": limit}
    structure = _structured_outputs(job.answer, chosen.pop("response_format", None))
    if logprobs is not None:
        chosen.update(logprobs=logprobs, flat_logprobs=True)
    return SamplingParams(
        **_native({**chosen, "thinking_token_budget": thought}),
        structured_outputs=structure,
        output_kind=RequestOutputKind.DELTA,
    )


def _native(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters in vLLM's own types; an answer that is cut off early needs no more tokens."""
    native = dict(chosen)
    if bias := native.get("logit_bias"):
        native["logit_bias"] = {int(token): value for token, value in bias.items()}
    if repetition := native.get("repetition_detection"):
        native["repetition_detection"] = RepetitionDetectionParams(**repetition)
    if least := native.get("min_tokens"):
        native["min_tokens"] = min(least, native["max_tokens"])
    return native


def _structured_outputs(
    answer: Answer, response_format: Mapping[str, Any] | None
) -> StructuredOutputsParams | None:
    """What the decoder enforces: the answer's frame, JSON, or JSON by a schema."""
    if answer.decoding == "enforced":
        constraint = format_of(answer).constraint
        if isinstance(constraint, Regex):
            return StructuredOutputsParams(regex=constraint.pattern)
        return StructuredOutputsParams(json=dict(constraint.schema))
    if response_format is None:
        return None
    if "json_schema" in response_format:
        return StructuredOutputsParams(json=response_format["json_schema"]["schema"])
    return StructuredOutputsParams(json_object=True)
