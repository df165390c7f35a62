"""The parser that a model needs, told from the few files that tell it."""

from pathlib import Path

import orjson
import pytest

from pipeline.config.schema import Job
from pipeline.core.errors import ConfigError
from pipeline.engines import check_engine
from pipeline.engines.reasoning_parsers import (
    check_reasoning,
    described,
    reasoning_of,
)
from pipeline.engines.vllm_options import check_vllm
from tests.support.jobs import vllm_job

CHATML = (
    "{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}>{% endif %}"
)
OPENS = CHATML.replace(">{% endif", "<think>{% endif")
SWITCHED = (
    CHATML + "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
)
THINKING_OFF = CHATML + "{% if thinking %}<think>{% endif %}"

MODELS = {
    # model type, chat template, parser, whether it thinks unless told otherwise
    "Qwen3 8B": ("qwen3", SWITCHED, "qwen3", True),
    "Qwen3 30B A3B": ("qwen3_moe", SWITCHED, "qwen3", True),
    "Qwen3 Thinking 2507": ("qwen3", OPENS, "deepseek_r1", True),
    "Qwen3 Instruct 2507": ("qwen3", CHATML, None, False),
    "Qwen2.5": ("qwen2", CHATML, None, False),
    "DeepSeek R1": ("deepseek_v3", OPENS, "deepseek_r1", True),
    "DeepSeek R1 distilled into Llama": ("llama", OPENS, "deepseek_r1", True),
    "DeepSeek R1 distilled into Qwen": ("qwen2", OPENS, "deepseek_r1", True),
    "DeepSeek V3.1": ("deepseek_v3", THINKING_OFF, "deepseek_v3", False),
    "gpt-oss": ("gpt_oss", "<|start|>", "openai_gptoss", True),
    "GLM 4.5": ("glm4_moe", SWITCHED, "glm45", True),
    "Nemotron Nano": ("nemotron_h", SWITCHED, "nemotron_v3", True),
    "Llama 3.1": ("llama", CHATML, None, False),
    "Mistral Small": ("mistral", CHATML, None, False),
    "Magistral": ("mistral", CHATML + "[THINK]", "mistral", True),
    "Gemma 2": ("gemma2", CHATML, None, False),
    "Gemma 4": ("gemma4", SWITCHED, "gemma4", False),
    "SmolLM2": ("llama", CHATML, None, False),
    "without a template": ("llama", None, None, False),
}


def model(folder: Path, type_: str, template: str | None, in_config: bool = False) -> str:
    """A folder with the files that tell a model's format."""
    folder.mkdir(exist_ok=True)
    config = {"model_type": type_, "max_position_embeddings": 4096}
    (folder / "config.json").write_bytes(orjson.dumps(config))
    if in_config:
        (folder / "tokenizer_config.json").write_bytes(orjson.dumps({"chat_template": template}))
    elif template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return str(folder)


def job(model: str, **engine) -> Job:
    decoding, sampling = engine.pop("decoding", "free"), engine.pop("sampling", {})
    made = vllm_job(model, answer={"decoding": decoding}, sampling=sampling)
    return made.model_copy(update={"engine": made.engine.model_copy(update=engine)})


@pytest.mark.parametrize("in_config", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_each_family_gets_its_own_parser(name, in_config, tmp_path):
    type_, template, parser, thinks = MODELS[name]
    found = reasoning_of(job(model(tmp_path / "model", type_, template, in_config)))
    assert (found.parser, found.thinks) == (parser, thinks)


def test_a_template_of_several_counts_by_its_default_one(tmp_path):
    folder = model(tmp_path / "model", "llama", None)
    several = [{"name": "tool_use", "template": CHATML}, {"name": "default", "template": OPENS}]
    (tmp_path / "model/tokenizer_config.json").write_bytes(orjson.dumps({"chat_template": several}))
    assert reasoning_of(job(folder)).parser == "deepseek_r1"


def test_the_job_s_own_template_counts_before_the_model_s(tmp_path):
    folder = model(tmp_path / "model", "llama", CHATML)
    assert reasoning_of(job(folder, options={"chat_template": OPENS})).parser == "deepseek_r1"


@pytest.mark.parametrize(
    ("name", "arguments", "thinks"),
    [
        ("Qwen3 8B", {"enable_thinking": False}, False),
        ("Qwen3 8B", {"other": False}, True),
        ("DeepSeek V3.1", {"thinking": True}, True),
        ("GLM 4.5", {"enable_thinking": False}, False),
        ("Gemma 4", {"enable_thinking": True}, True),
    ],
)
def test_thinking_is_switched_by_the_template_s_argument(name, arguments, thinks, tmp_path):
    folder = model(tmp_path / "model", *MODELS[name][:2])
    assert reasoning_of(job(folder, chat_template_kwargs=arguments)).thinks is thinks


def test_a_job_may_name_a_parser_or_none(tmp_path):
    folder = model(tmp_path / "model", *MODELS["Qwen3 8B"][:2])
    named = reasoning_of(job(folder, reasoning="granite"))
    assert (named.parser, named.source) == ("granite", "set by the job")
    assert reasoning_of(job(folder, reasoning="off")).parser is None


def test_a_name_that_is_no_parser_is_refused_with_the_nearest(tmp_path):
    folder = model(tmp_path / "model", *MODELS["Qwen3 8B"][:2])
    with pytest.raises(ConfigError, match=r"engine\.reasoning: qwen_3: no .*did you mean 'qwen3'"):
        reasoning_of(job(folder, reasoning="qwen_3"))
    with pytest.raises(ConfigError, match=r"options\.reasoning_parser: set engine\.reasoning"):
        check_vllm(job(folder, options={"reasoning_parser": "qwen3"}))


def test_a_wrong_name_is_an_error_before_a_model_is_looked_at():
    with pytest.raises(ConfigError, match=r"engine\.reasoning: qwen_3: no reasoning parser"):
        check_engine(job("nowhere/model", reasoning="qwen_3"))


@pytest.mark.parametrize("kind", ["openai", "recorded", "extractive"])
def test_confidence_needs_vllm(kind):
    with pytest.raises(ConfigError, match=r"engine\.confidence: needs engine\.kind vllm"):
        check_engine(job("model", kind=kind, confidence=True))


def test_a_budget_for_thoughts_needs_a_parser(tmp_path):
    folder = model(tmp_path / "model", *MODELS["Llama 3.1"][:2])
    with pytest.raises(ConfigError, match=r"thinking_token_budget: needs a reasoning parser"):
        check_reasoning(job(folder, sampling={"thinking_token_budget": 20}))


def test_enforced_decoding_is_refused_where_answers_stand_in_a_channel(tmp_path):
    folder = model(tmp_path / "model", *MODELS["gpt-oss"][:2])
    with pytest.raises(ConfigError, match=r"answer\.decoding: enforced is not possible"):
        check_reasoning(job(folder, decoding="enforced"))


def test_the_choice_is_described_even_where_the_model_cannot_be_read(tmp_path):
    folder = model(tmp_path / "model", *MODELS["Qwen3 8B"][:2])
    said = "qwen3 (auto, from model type qwen3); the model thinks before it answers"
    assert described(job(folder)) == said
    assert "no such folder" in described(job(str(tmp_path / "nowhere")))
