"""Which of vLLM's reasoning parsers a model needs, told from its files without importing vLLM."""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from pipeline.config.schema import Job
from pipeline.core.errors import ConfigError, OvernightError, nearest
from pipeline.engines.model_files import ModelSpec, chat_template, model_config
from pipeline.engines.vllm_source import module_of

HARMONY = "openai_gptoss"
"""The format of gpt-oss, whose channels vLLM's parser does not split."""

BY_MARKS = "by the marks in the text"
"""How completions are split without a parser."""


class Family(NamedTuple):
    """Models that need a parser: by the `model_type` of their `config.json`, if their chat template
    has the mark; models of that type without it do not think. `switch` is the template's argument
    that turns thinking on or off, and `by_default` what happens without it.
    """

    parser: str
    model_types: str  # a pattern
    mark: str = ""  # a pattern
    switch: str = ""
    by_default: bool = True


_FAMILIES = (
    Family(HARMONY, r"gpt_oss"),
    Family("qwen3", r"qwen3.*", "enable_thinking", "enable_thinking"),
    Family("glm45", r"glm4_moe.*|glm5.*|glm_moe.*", switch="enable_thinking"),
    Family("nemotron_v3", r"nemotron_h.*", "enable_thinking", "enable_thinking"),
    Family("deepseek_v3", r"deepseek_v3.*", r"\bthinking\b", "thinking", by_default=False),
    Family("granite", r"granite.*", r"\bthinking\b", "thinking", by_default=False),
    Family("seed_oss", r"seed_oss"),
    Family("minimax_m3", r"minimax_m3.*"),
    Family("minimax_m2", r"minimax_m2.*"),
    Family("kimi_k2", r"kimi_k2.*", "<think>"),
    Family("hunyuan_a13b", r"hunyuan_v1.*", "<think>", "enable_thinking"),
    Family("ernie45", r"ernie4_5.*", "<think>", "enable_thinking"),
    Family("gemma4", r"gemma4.*", "enable_thinking", "enable_thinking", by_default=False),
    Family("mistral", r"mistral.*|ministral.*", r"\[THINK\]"),
    Family("olmo3", r"olmo3.*", "<think>"),
    Family("step3", r"step3.*"),
    Family("mimo", r"mimo.*", "<think>", "enable_thinking"),
    Family("cohere_command3", r"cohere2.*", r"START_THINKING"),
    # Distillates of R1 and all that open a thought for the model, whatever they are built on.
    Family("deepseek_r1", r".*", r"(?s)add_generation_prompt.*<think>"),
)
"""After the models' chat templates and vLLM's documentation; the first that fits."""


@dataclass(frozen=True, slots=True)
class Reasoning:
    """How a job's completions are split.

    `parser` is vLLM's, or None; `source` says who chose it. `thinks` tells whether the model is
    expected to think under the job's chat template arguments.
    """

    parser: str | None
    source: str
    thinks: bool = False

    def __str__(self) -> str:
        if self.parser is None:
            return self.source
        habit = "thinks before it answers" if self.thinks else "does not think"
        return f"{self.parser} ({self.source}); the model {habit}"


def reasoning_of(job: Job) -> Reasoning:
    """Raises `ConfigError` for a parser that vLLM does not have, `EngineError` without a model."""
    wanted = job.engine.reasoning
    if wanted == "off":
        return Reasoning(None, "off")
    if job.engine.kind != "vllm":
        return Reasoning(None, BY_MARKS)
    family, source = _family(ModelSpec.of(job))
    if wanted != "auto":
        check_parser(wanted)
        family, source = _named(wanted, family), "set by the job"
    if family is None:
        return Reasoning(None, source)
    return Reasoning(family.parser, source, _thinks(family, job.engine.chat_template_kwargs))


def described(job: Job) -> str:
    """How a job's completions are split, or why that cannot be said on this machine."""
    try:
        return str(reasoning_of(job))
    except OvernightError as error:
        return str(error)


def check_reasoning(job: Job) -> None:
    """Raises `ConfigError` for what a parser, or the want of one, rules out."""
    reasoning = reasoning_of(job)
    if job.sampling.thinking_token_budget is not None and reasoning.parser is None:
        raise ConfigError(
            f"sampling.thinking_token_budget: needs a reasoning parser; there is none ({reasoning})"
        )
    if reasoning.parser == HARMONY and job.answer.decoding == "enforced":
        raise ConfigError(
            "answer.decoding: enforced is not possible with gpt-oss, whose answers stand in a "
            "channel of their own; leave it at free"
        )


def check_parser(name: str) -> None:
    """Raises `ConfigError` for a name that is no parser of the installed vLLM."""
    known = parser_names()
    if name not in known:
        raise ConfigError(
            f"engine.reasoning: {name}: no reasoning parser of vLLM; auto finds the model's own"
            f"{nearest(name, known)}"
        )


@cache
def parser_names() -> frozenset[str]:
    """The names of vLLM's parsers; `ConfigError` if vLLM is not installed."""
    return frozenset(
        key.value
        for node in module_of("vllm.reasoning").tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
        for key in node.value.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    )


@cache
def _family(model: ModelSpec) -> tuple[Family | None, str]:
    """A model's family, and from what it was told; once a process, as files may be far away."""
    type_ = str(model_config(model).get("model_type", ""))
    template = chat_template(model) or ""
    for family in _FAMILIES:
        if not re.fullmatch(family.model_types, type_) or not re.search(family.mark, template):
            continue
        if family.parser in parser_names():
            told = f"model type {type_}" if family.model_types != ".*" else "its chat template"
            return family, f"auto, from {told}"
    return None, f"no parser for model type {type_ or 'unknown'}: {BY_MARKS}"


def _named(parser: str, family: Family | None) -> Family:
    """What is known of the parser that a job names."""
    known = (f for f in (family, *_FAMILIES) if f and f.parser == parser)
    return next(known, Family(parser, ".*"))


def _thinks(family: Family, arguments: Mapping[str, Any]) -> bool:
    return bool(arguments.get(family.switch, family.by_default))
