"""A user's own columns as JSON, as they travel with a record and as they are stored."""

from collections.abc import Mapping
from typing import Any

import orjson


def dump_extra(extra: Mapping[str, Any], options: int = 0) -> bytes | None:
    """A user's own columns as JSON; values that JSON has no type for become text.

    Raises `TypeError` for values nested too deep for the encoder.
    """
    options |= orjson.OPT_NON_STR_KEYS
    return orjson.dumps(extra, default=_as_text, option=options) if extra else None


def _as_text(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
