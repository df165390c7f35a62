import json
from hashlib import blake2b

from pipeline.core.records import Message
from pipeline.prompting.keys import canonical, prompt_and_generation_key

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

    def key(value: object) -> str:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return blake2b(text.encode(), digest_size=16).hexdigest()

    assert prompt_and_generation_key(MESSAGES, IDENTITY) == (key(rendered), key(whole))


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
