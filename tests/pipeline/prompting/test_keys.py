import json
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.schema import Job
from pipeline.core.records import Message
from pipeline.engines import generation_identity
from pipeline.prompting.keys import canonical, prompt_and_generation_key
from tests.support.jobs import record

MESSAGES = (Message("system", "Sei kurz.\n"), Message("user", "Wie „hoch“? 𝐵 ≥ 3\x00\t\\"))
IDENTITY = {
    "model": "m",
    "model_revision": None,
    "sampling": {"temperature": 0.7},
    "decoding": "free",
}


def test_canonical_json_is_what_the_standard_library_writes_sorted_and_tight():
    value = {"b": [1, 0.5, None, True], "a": "ü𝐵\u2028\n\x01\x7f"}
    plain = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert canonical(value) == plain.encode()


def test_keys_can_be_computed_by_anyone_from_the_published_rule():
    rendered = [{"content": m.content, "role": m.role} for m in MESSAGES]
    whole = {**IDENTITY, "messages": rendered}

    def hashed(value: object) -> str:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return blake2b(text.encode(), digest_size=16).hexdigest()

    assert prompt_and_generation_key(MESSAGES, IDENTITY) == (hashed(rendered), hashed(whole))


def test_keys_do_not_change():
    # Fixed values: a change makes every stored answer stale.
    assert prompt_and_generation_key((Message("user", "A?"),), {"model": "m"}) == (
        "ea9473019a0e144948a334493d008dc0",
        "6e207ecc7990b97145d8d1b1806cd0a9",
    )


def test_the_prompt_key_depends_on_the_messages_only():
    prompt, generation = prompt_and_generation_key(MESSAGES, IDENTITY)
    same_prompt, other_generation = prompt_and_generation_key(MESSAGES, {**IDENTITY, "model": "n"})
    assert same_prompt == prompt
    assert other_generation != generation


# What of a job file is part of a key.


def job(engine: dict[str, Any] | None = None, **sections: Any) -> Job:
    engine = {"kind": "vllm", "model": "m", **(engine or {})}
    rest = {"input": {"uri": "in"}, "output": {"uri": "out"}}
    return Job.model_validate({"name": "job", "engine": engine, **rest, **sections})


def key(engine: dict[str, Any] | None = None, **sections: Any) -> str:
    identity = generation_identity(job(engine, **sections))(record())
    return prompt_and_generation_key(MESSAGES, identity)[1]


def test_a_job_without_the_newer_settings_has_the_key_that_it_always_had():
    # The identity of releases before them, written out.
    identity = {
        "model": "m",
        "model_revision": None,
        "sampling": {"temperature": 0.5},
        "decoding": "free",
    }
    options = {"max_model_len": 4096, "quantization": "fp8"}
    plain = {"options": options, "reasoning": "auto", "chat_template_kwargs": {}, "adapter": None}
    for engine in ({}, plain, {**plain, "generation_options": ["dtype"]}):
        expected = prompt_and_generation_key(MESSAGES, identity)[1]
        assert key(engine, sampling={"temperature": 0.5}) == expected


NEWER: list[dict[str, Any]] = [
    {},
    {"chat_template_kwargs": {"enable_thinking": False}},
    {"chat_template_kwargs": {"enable_thinking": True}},
    {"chat_template_kwargs": {"enable_thinking": False, "effort": "low"}},
    {"options": {"chat_template": "{{ messages[0].content }}"}},
    {"options": {"chat_template": "{{ messages[-1].content }}"}},
    {"adapter": "adapters/cautious"},
    {"adapter": "adapters/cautious@v2"},
    {"reasoning": "off"},
    {"reasoning": "qwen3"},
    {"options": {"quantization": "fp8"}, "generation_options": ["quantization"]},
    {"options": {"quantization": "awq"}, "generation_options": ["quantization"]},
    {"options": {"dtype": "float16"}, "generation_options": ["quantization", "dtype"]},
]


def test_each_setting_that_changes_what_is_said_makes_another_key():
    keys = [key(engine) for engine in NEWER]
    assert len(set(keys)) == len(NEWER)


@pytest.mark.parametrize("engine", NEWER)
def test_the_order_in_which_a_job_file_has_them_does_not(engine: dict[str, Any]):
    def backwards(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: backwards(item) for name, item in reversed(value.items())}
        return value

    names = list(reversed(engine.get("generation_options", [])))
    other = {**backwards(engine), **({"generation_options": names} if names else {})}
    assert key(other) == key(engine)


def test_a_template_counts_by_its_text_not_by_its_path(tmp_path: Path):
    text = "{% for m in messages %}\n{{ m.content }}{% endfor %}"
    (tmp_path / "one.jinja").write_text(text, encoding="utf-8")
    (tmp_path / "two.jinja").write_text(text, encoding="utf-8")
    paths = [str(tmp_path / name) for name in ("one.jinja", "two.jinja")]
    keys = {key({"options": {"chat_template": value}}) for value in (*paths, text)}
    assert len(keys) == 1


def test_options_of_an_engine_are_in_the_key_only_where_the_job_says_so():
    assert key({"options": {"quantization": "fp8"}}) == key()
    named = {"generation_options": ["quantization"]}
    assert key(named) == key()
    assert key({"options": {"quantization": "fp8", "max_num_seqs": 8}, **named}) == key(
        {"options": {"quantization": "fp8"}, **named}
    )
