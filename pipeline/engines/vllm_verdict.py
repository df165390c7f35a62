"""A judge's verdict with vLLM. Importing this imports vLLM.

The conversation goes on behind the very tokens of the answer, which the prefix cache holds: another
way to cut the same text into tokens would miss it. The decoder is held to the choices, and ends
with the token that tells them apart.
"""

from collections.abc import Collection, Sequence
from itertools import combinations

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

from pipeline.core.records import Completion
from pipeline.engines.choice_probabilities import ALTERNATIVES, choice_probabilities
from pipeline.engines.engine import Request
from pipeline.engines.tokenizer import PromptEncoder
from pipeline.engines.vllm_reasoning import Reasoner
from pipeline.engines.vllm_requests import Generated
from pipeline.formats.choice import Choice

REPLACEMENT = "\ufffd"
"""What bytes that are no character are read as."""


def conversation_tokens(encoder: PromptEncoder, reasoner: Reasoner, request: Request) -> list[int]:
    """The conversation that a verdict ends, with no room for a thought before it.

    Raises `Fault` for a chat that the template refuses.
    """
    tokens = _behind_answer(encoder, request) or encoder.encode(request.messages)
    skipped = reasoner.skipped_thought(reasoner.opening(request.messages))
    return [*tokens, *_encoded(encoder, skipped)]


def _behind_answer(encoder: PromptEncoder, request: Request) -> list[int]:
    """Prompt, answer as it was generated, and what follows; nothing where that is another text,
    as behind a thought, or the tokens are not known.
    """
    prompt, said = request.prompt.messages, request.said
    special = set(encoder.tokenizer.all_special_ids)
    tokens = list(said.tokens) if said else []
    while tokens and tokens[-1] in special:  # the end of the turn, which the template writes
        tokens.pop()
    if not said or not tokens or not encoder.formats(prompt):
        return []
    before, whole = encoder.text(prompt) + said.text, encoder.text(request.messages)
    if not whole.startswith(before) or not _are_tokens_of(said.text, encoder, tokens):
        return []
    return [*encoder.encode(prompt), *tokens, *_encoded(encoder, whole[len(before) :])]


def _encoded(encoder: PromptEncoder, text: str) -> list[int]:
    return list(encoder.tokenizer.encode(text, add_special_tokens=False)) if text else []


def _are_tokens_of(text: str, encoder: PromptEncoder, tokens: Sequence[int]) -> bool:
    """Whether tokens give a text. One that was cut off within a character lacks the last tokens:
    vLLM holds a token back, with the space before it, until its character is whole.
    """
    options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    decoded = str(encoder.tokenizer.decode(tokens, **options))
    cut_off = decoded.endswith(REPLACEMENT) and decoded.startswith(text)
    return decoded == text or cut_off


def verdict_sampling(choices: Sequence[str]) -> SamplingParams:
    """Parameters for the likeliest choice, with the probabilities of the others."""
    return SamplingParams(
        temperature=0.0,
        max_tokens=deciding_tokens(choices),
        logprobs=ALTERNATIVES,
        flat_logprobs=True,
        structured_outputs=StructuredOutputsParams(regex=Choice(tuple(choices)).constraint.pattern),
        output_kind=RequestOutputKind.DELTA,
    )


def deciding_tokens(choices: Sequence[str]) -> int:
    """Tokens after which any two choices differ, even at a byte a token."""
    encoded = [choice.encode() for choice in choices]
    return 1 + max(_shared_bytes(a, b) for a, b in combinations(encoded, 2))


def _shared_bytes(a: bytes, b: bytes) -> int:
    """How many bytes two texts begin with alike."""
    return next(
        (n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )


def verdict_of(
    request: Request, generated: Generated, ends: Collection[int], prompt_tokens: int
) -> Completion:
    """The likeliest choice: of one that several tokens may begin, the first alone may be less
    likely than another choice, and be written for all that.
    """
    shares = choice_probabilities(request.choices, generated.steps(0, ends))
    text = max(shares, key=lambda choice: shares[choice]) if shares else generated.text
    return Completion(
        text=text,
        finish_reason="stop" if shares else generated.finish_reason,
        prompt_tokens=prompt_tokens,
        cached_tokens=generated.cached_tokens,
        completion_tokens=len(generated.tokens),
        probabilities=shares,
    )
