"""The section `sampling` against vLLM's parameters: none is missing, and limits are the same."""

import ast
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from pipeline.config.schema import Job, Sampling
from pipeline.engines import generation_identity, sampling_of
from pipeline.prompting.keys import canonical
from tests.support.jobs import record

LEFT_OUT = {
    # one answer a request, as text
    "n",
    "detokenize",
    "output_kind",
    "stream_interval",
    "output_text_buffer_length",
    # numbers about an answer
    "logprobs",
    "prompt_logprobs",
    "prompt_logprob_token_ids",
    "prompt_logprob_start",
    "logprob_token_ids",
    "flat_logprobs",
    "routed_experts_prompt_start",
    # how it is computed
    "skip_clone",
    "skip_reading_prefix_cache",
    # has keys of its own: answer.decoding
    "structured_outputs",
    # an answer that is given beforehand
    "trace_decode_token_ids",
}


def fields_of_vllm() -> set[str]:
    spec = find_spec("vllm")
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).with_name("sampling_params.py").read_bytes())
    (params,) = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "SamplingParams")
    names = (n.target.id for n in params.body if isinstance(n, ast.AnnAssign))  # type: ignore[union-attr]
    return {name for name in names if not name.startswith("_")}


def test_every_parameter_of_vllm_is_a_key_or_is_left_out_for_a_reason():
    assert set(Sampling.model_fields) | LEFT_OUT == fields_of_vllm()
    assert set(Sampling.model_fields) & LEFT_OUT == set()


def test_what_is_left_out_is_documented():
    page = (Path(__file__).parents[3] / "docs/job-file.md").read_text(encoding="utf-8")
    assert {name for name in LEFT_OUT if f"`{name}`" not in page} == set()


VALUES: dict[str, list[Any]] = {
    "temperature": [-0.1, 0, 0.7, 2, 2.1, float("nan"), float("inf")],
    "top_p": [0, 0.1, 1, 1.1],
    "top_k": [-2, -1, 0, 1, 50, 1.5],
    "min_p": [-0.1, 0, 1, 1.1],
    "max_tokens": [0, 1, 5],
    "min_tokens": [-1, 0, 5],
    "presence_penalty": [-2.1, -2, 0, 2, 2.1],
    "frequency_penalty": [-2.1, -2, 0, 2, 2.1],
    "repetition_penalty": [-1, 0, 0.1, 1, 9, float("inf"), float("nan")],
    "stop": ["", "x", [""], ["x", ""], ["x"], []],
    "bad_words": [[""], ["x"], []],
    "thinking_token_budget": [0, 1, 500],
    "repetition_detection": [
        {"max_pattern_size": 4, "min_count": 1},
        {"max_pattern_size": 4, "min_count": 2},
        {"max_pattern_size": 2, "min_pattern_size": 3, "min_count": 2},
        {"max_pattern_size": -1},
        {"max_pattern_size": 0},
    ],
}


def accepted_here(**values: Any) -> bool:
    try:
        Sampling.model_validate(values)
    except ValidationError:
        return False
    return True


def accepted_by_vllm(**values: Any) -> bool:
    from vllm import SamplingParams
    from vllm.exceptions import VLLMValidationError
    from vllm.sampling_params import RepetitionDetectionParams

    try:
        if repetition := values.get("repetition_detection"):
            values["repetition_detection"] = RepetitionDetectionParams(**repetition)
        SamplingParams(**values)
    except (VLLMValidationError, TypeError):
        return False
    return True


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, vs in VALUES.items() for v in vs])
def test_limits_are_those_of_vllm(name: str, value: Any):
    others = {} if name == "max_tokens" else {"max_tokens": 100}
    assert accepted_here(**{name: value}, **others) == accepted_by_vllm(**{name: value}, **others)


@pytest.mark.parametrize("least", [1, 7, 8])
def test_an_answer_cannot_be_longer_than_its_limit(least: int):
    both = {"max_tokens": 7, "min_tokens": least}
    assert accepted_here(**both) == accepted_by_vllm(**both) == (least <= 7)


@pytest.mark.parametrize(
    "values",
    [
        {"allowed_token_ids": []},
        {"allowed_token_ids": [-1]},
        {"stop_token_ids": [-1]},
        {"logit_bias": {"amber": 1}},
        {"logit_bias": {-1: 1}},
        {"logit_bias": {True: 1}},
        {"logit_bias": {1: 101}},
        {"logit_bias": [1]},
        {"extra_args": {"a": 2**70}},
        {"extra_args": {"a": {1: 2}}},
        {"extra_args": {"a": float("nan")}},
        {"seed": 2**63},
        {"skip_special_tokens": "perhaps"},
    ],
)
def test_what_vllm_refuses_of_each_request_is_refused_before_the_first(values: dict[str, Any]):
    assert not accepted_here(**values)


def job(**sampling: Any) -> Job:
    sections = {"input": {"uri": "in"}, "output": {"uri": "out"}, "sampling": sampling}
    return Job.model_validate({"name": "job", **sections})


def test_one_stop_is_a_list_of_one():
    assert sampling_of(job(stop="END")) == sampling_of(job(stop=["END"]))


def test_token_ids_may_be_numbers_or_texts():
    assert sampling_of(job(logit_bias={50: -1, "07": 2})) == sampling_of(
        job(logit_bias={"7": 2.0, "50": -1.0})
    )


def test_the_key_takes_every_parameter_and_what_is_not_set_is_not_in_it():
    before = generation_identity(job(temperature=0, stop=["END"]))(record())
    assert before["sampling"] == {"temperature": 0.0, "stop": ["END"], "max_words": 399}
    every = {
        "temperature": 1,
        "top_p": 0.5,
        "top_k": 0,
        "min_p": 0,
        "max_tokens": 9,
        "min_tokens": 1,
        "seed": 7,
        "stop": "END",
        "stop_token_ids": [1],
        "include_stop_str_in_output": True,
        "bad_words": ["x"],
        "allowed_token_ids": [1],
        "logit_bias": {1: 2},
        "ignore_eos": True,
        "skip_special_tokens": False,
        "spaces_between_special_tokens": False,
        "presence_penalty": 1,
        "frequency_penalty": 1,
        "repetition_penalty": 1,
        "repetition_detection": {"max_pattern_size": 9, "min_count": 2},
        "thinking_token_budget": 9,
        "watermarking": False,
        "extra_args": {"a": [1, None]},
    }
    assert set(every) == set(Sampling.model_fields)
    in_key = generation_identity(job(**every))(record())["sampling"]
    assert set(orjson.loads(canonical(in_key))) == {*every, "max_words"}
