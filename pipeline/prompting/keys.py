"""The keys of prompts and generations, which stay the same for the life of a store.

A key is the BLAKE2b hash (RFC 7693) of canonical JSON, 16 bytes in hex. Canonical is UTF-8 with
sorted keys, no white space, and only the escapes that JSON requires. A change here that changes a
key makes every stored answer stale.
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


def short_digest(data: bytes) -> str:
    """Tells versions of a text apart in 16 hex digits."""
    return blake2b(data, digest_size=8).hexdigest()


def prompt_and_generation_key(
    messages: tuple[Message, ...], identity: Mapping[str, Any]
) -> tuple[str, str]:
    """The key of the rendered messages alone, and the key of a generation from them.

    `identity` holds what else a completion depends on: model, model_revision, sampling, decoding,
    and the recorded answer if that is replayed.
    """
    rendered = canonical([{"role": m.role, "content": m.content} for m in messages])
    return digest(rendered), digest(canonical({**identity, "messages": orjson.Fragment(rendered)}))
