"""A chat template of the job's own, and arguments for a chat template, with a real tokenizer."""

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import ConfigError
from pipeline.core.records import PLAIN, Message
from pipeline.engines import check_engine
from pipeline.engines.model_files import ModelSpec
from pipeline.engines.tokenizer import PromptEncoder, load_encoder
from pipeline.engines.vllm_options import vllm_options, with_option_values
from tests.support.jobs import vllm_job

CHAT = (Message("system", "Be brief."), Message("user", "How many herons?"))
TURNS = "{% for message in messages %}[{{ message.role }}]{{ message.content }}{% endfor %}"
OWN = TURNS + "{% if add_generation_prompt %}[answer]{{ '<think>' if think }}{% endif %}"


def job(model: str | Path = "model", template: Any = None, **kwargs: Any):
    options = {} if template is None else {"chat_template": template}
    return vllm_job(model, options=options, engine={"chat_template_kwargs": kwargs})


@pytest.fixture(scope="module")
def encoder_of(tiny_model: Path):
    """An encoder for a template and its arguments; the tokenizer is loaded once."""
    tokenizer = load_encoder(ModelSpec(str(tiny_model))).tokenizer

    def of(template: str | None = None, **kwargs: Any) -> PromptEncoder:
        spec = ModelSpec.of(job(tiny_model, template, **kwargs))
        assert spec == replace(spec)
        assert hash(spec)
        if template is None:
            return PromptEncoder(tokenizer, kwargs)
        return load_encoder(spec)

    return of


def test_a_template_of_the_job_goes_over_that_of_the_model(encoder_of, tmp_path: Path):
    (tmp_path / "own.jinja").write_text(OWN, encoding="utf-8")
    expected = "[system]Be brief.[user]How many herons?[answer]"
    assert encoder_of(OWN).text(CHAT) == expected
    assert encoder_of(str(tmp_path / "own.jinja")).text(CHAT) == expected
    assert encoder_of().text(CHAT).startswith("<s><|system|>Be brief.</s><|user|>")


def test_arguments_reach_the_template_and_the_tokens(encoder_of):
    plain, thinking = encoder_of(OWN), encoder_of(OWN, think=True)
    assert thinking.text(CHAT) == plain.text(CHAT) + "<think>"
    assert len(thinking.encode(CHAT)) > len(plain.encode(CHAT))


def test_a_plain_prompt_meets_no_template(encoder_of):
    text = (Message(PLAIN, "Herons."),)
    assert encoder_of(OWN, think=True).encode(text) == encoder_of().encode(text)


def test_vllm_is_given_neither():
    assert "chat_template" not in vllm_options(job("model", OWN, think=True))


@pytest.mark.parametrize(
    ("template", "kwargs", "opening"),
    [
        (OWN, {}, "[answer]"),
        (OWN, {"think": True}, "[answer]<think>"),
        (TURNS, {}, ""),
        (TURNS + "[answer]", {}, "[answer]"),
        (
            TURNS + "{% if not add_generation_prompt %}[end]{% else %}<think>{% endif %}",
            {},
            "<think>",
        ),
    ],
)
def test_what_begins_the_answer_is_known(encoder_of, template: str, kwargs: Any, opening: str):
    assert encoder_of(template, **kwargs).opening(CHAT) == opening


def test_without_a_template_nothing_begins_the_answer(encoder_of):
    assert encoder_of(OWN).opening((Message(PLAIN, "Herons."),)) == ""
    assert encoder_of().opening(CHAT) == "<|assistant|>"


# What is said before anything starts.


def refused(*args: Any, **kwargs: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        check_engine(job(*args, **kwargs))
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path):
    said = refused("model", f"{tmp_path}/none.jinja")
    assert said == f"engine.options.chat_template: {tmp_path}/none.jinja: no such file"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for m in messages %}\n{{ m.content }", ":2: not valid Jinja"),
        ("{{ messages | shout }}", ":1: not valid Jinja: No filter named 'shout'"),
        ("{% if messages %}\nx", ":2: not valid Jinja"),
        ("Answer.\n", "prints no message"),
        ("", "write the path of a file, or the template's text"),
        (["{{ messages }}"], "write the path of a file, or the template's text"),
        (7, "write the path of a file, or the template's text"),
    ],
)
def test_a_template_that_does_not_parse_is_refused_with_its_line(
    tmp_path: Path, template: Any, reason: str
):
    assert reason in refused("model", template)
    if isinstance(template, str) and template:
        path = tmp_path / "own.jinja"
        path.write_text(template, encoding="utf-8")
        assert f"{path}" in refused("model", str(path))


@pytest.mark.parametrize(
    "template",
    [
        OWN,
        "{% for m in messages %}{{ m | tojson }}{% if true %}{% break %}{% endif %}{% endfor %}",
        "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
        "{{ raise_exception('no') if tools }}{{ strftime_now('%Y') }}{{ messages[0].content }}",
        "{% macro say(m) %}{{ m.content | trim }}{% endmacro %}{{ say(messages[0]) }}",
        "{%- set ns = namespace(n=0) -%}{%- for m in messages -%}{{ m.content }}{%- endfor -%}",
    ],
)
def test_what_the_tokenizers_take_is_taken(encoder_of, template: str):
    check_engine(job("model", template))
    assert "Be brief." in encoder_of(template).text(CHAT)


def test_a_template_that_refuses_the_prompts_of_the_job_is_said_with_their_roles(encoder_of):
    encoder = encoder_of(
        "{{ raise_exception('only birds') if messages[0].role == 'system' }}{{ 1 }}"
    )
    with pytest.raises(ConfigError, match=r"system and user messages, .*only birds"):
        encoder.check_shape(CHAT)


def taken_names() -> list[str]:
    """Everything that a template, or the method that fills it in, has under a name already."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from transformers import PreTrainedTokenizerBase

    method = inspect.signature(PreTrainedTokenizerBase.apply_chat_template)
    parameters = {n for n, p in method.parameters.items() if p.kind is not p.VAR_KEYWORD}
    tokens = {*PreTrainedTokenizerBase.SPECIAL_TOKENS_ATTRIBUTES}
    return sorted(
        {*parameters, *tokens, *ImmutableSandboxedEnvironment().globals, "messages", "tools"}
    )


def test_an_argument_cannot_take_the_name_of_anything_that_templates_have():
    for name in taken_names():
        said = refused("model", **{name: 1})
        assert said == (
            f"engine.chat_template_kwargs.{name}: a name that chat templates have already"
        )


@pytest.mark.parametrize(
    "value", [float("nan"), {1: "a"}, 2**70, {"deep": [float("inf")]}, (1, 2), object()]
)
def test_an_argument_is_json(value: Any):
    assert "only what JSON has" in refused("model", effort=value)


@pytest.mark.parametrize("value", [None, True, 0.5, "low", [1, {"a": None}], {}])
def test_any_json_is_an_argument(value: Any):
    check_engine(job("model", effort=value))


def test_engines_without_a_template_take_no_arguments():
    given = job("model", think=True)
    settings = given.engine.model_copy(update={"kind": "extractive", "options": {}})
    with pytest.raises(ConfigError, match="the extractive engine has no chat template"):
        check_engine(given.model_copy(update={"engine": settings}))


def test_nodes_get_the_text_of_a_template_not_its_path(tmp_path: Path):
    path = tmp_path / "own.jinja"
    path.write_text(OWN, encoding="utf-8")
    sent = with_option_values(job("model", str(path)))
    path.unlink()
    assert ModelSpec.of(sent).chat_template == OWN


def test_arguments_that_a_template_never_reads_are_named(encoder_of):
    encoder = encoder_of(OWN, thinking=True, think=True)
    assert encoder.described_template == (
        "a chat template, which never reads engine.chat_template_kwargs.thinking"
    )
    assert encoder_of(OWN, think=True).described_template == "a chat template"
