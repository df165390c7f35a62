"""The section `sampling`: vLLM's parameters that change what is said, with vLLM's own limits.

`tests/pipeline/config/test_sampling.py` holds the list against that of the installed vLLM.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Self

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from pipeline.config.sections import SECTION

TokenId = Annotated[int, Field(ge=0)]
Text = Annotated[str, Field(min_length=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _by_token_id(value: Any) -> Any:
    """Token ids as texts in plain decimal, as JSON has them: YAML may have numbers."""
    if not isinstance(value, Mapping):
        return value
    if any(isinstance(key, bool) or not str(key).strip().isdecimal() for key in value):
        raise ValueError("keys must be token ids: whole numbers from 0")
    return {str(int(key)): bias for key, bias in value.items()} or None


def _as_json(value: dict[str, Any] | None) -> dict[str, Any] | None:
    """Raises `ValueError` for what JSON does not have, integers of more than 64 bits included."""
    try:
        if value is None or orjson.loads(orjson.dumps(value)) == value:
            return value or None
    except TypeError as error:
        raise ValueError(f"must be JSON: {error}") from None
    raise ValueError("must be JSON: text, numbers, true, null, lists and mappings")


class RepetitionDetection(BaseModel):
    """When vLLM ends an answer that goes round in circles; sizes are in tokens."""

    model_config = SECTION

    max_pattern_size: int = Field(default=0, ge=0)
    min_pattern_size: int = Field(default=0, ge=0)
    min_count: int = 0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_pattern_size > self.max_pattern_size:
            raise ValueError("min_pattern_size is above max_pattern_size")
        if self.max_pattern_size > 0 and self.min_count < 2:
            raise ValueError("min_count must be at least 2")
        return self


class Sampling(BaseModel):
    """Sampling parameters under vLLM's names; the engine decides those that are not given."""

    model_config = SECTION

    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1, lt=2**31)  # -1 and 0 for all tokens
    min_p: float | None = Field(default=None, ge=0, le=1)
    max_tokens: int | None = Field(default=None, gt=0)
    min_tokens: int | None = Field(default=None, ge=0)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stop: Annotated[list[Text] | None, BeforeValidator(_as_list)] = None
    stop_token_ids: list[TokenId] | None = None
    include_stop_str_in_output: bool | None = None
    bad_words: list[Text] | None = None
    allowed_token_ids: Annotated[list[TokenId], Field(min_length=1)] | None = None
    logit_bias: Annotated[
        dict[str, Annotated[float, Field(ge=-100, le=100)]] | None, BeforeValidator(_by_token_id)
    ] = None
    ignore_eos: bool | None = None
    skip_special_tokens: bool | None = None
    spaces_between_special_tokens: bool | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    repetition_detection: RepetitionDetection | None = None
    thinking_token_budget: int | None = Field(default=None, ge=0)
    watermarking: bool | None = None
    extra_args: Annotated[dict[str, Any] | None, AfterValidator(_as_json)] = None

    @field_validator("min_tokens")
    @classmethod
    def _below_max(cls, value: int | None, info: ValidationInfo) -> int | None:
        most = info.data.get("max_tokens")
        if value is not None and most is not None and value > most:
            raise ValueError(f"input should be at most max_tokens, {most}")
        return value
