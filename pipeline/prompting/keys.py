"""The keys that prompts and generations are known by, for as long as a store lives.

A key is BLAKE2b with a digest of 16 bytes (RFC 7693), in hex, of canonical JSON: UTF-8, keys
sorted, no white space, only the escapes that JSON demands. Change nothing here that changes a key:
every store would be work again.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import orjson

from pipeline.core.records import Message

DIGEST_BYTES = 16


def canonical(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def digest(data: bytes) -> str:
    return blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def prompt_and_generation_key(
    messages: tuple[Message, ...], identity: Mapping[str, Any]
) -> tuple[str, str]:
    """The key of the rendered messages alone, and that of a generation from them.

    `identity` holds what else decides a completion: model, model_revision, sampling, decoding, and
    the recorded answer where that is what is replayed.
    """
    said = canonical([{"role": m.role, "content": m.content} for m in messages])
    return digest(said), digest(canonical({**identity, "messages": orjson.Fragment(said)}))
