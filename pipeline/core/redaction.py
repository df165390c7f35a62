"""Takes secrets out of what is shown or stored: messages, `run.json`, notifications, tracebacks.

Secrets come from the environment, so their values are known, and are looked for word for word;
besides them whatever has the shape of one.
"""

import base64
import os
import re
from typing import Any
from urllib.parse import quote, unquote

SECRET_NAME = re.compile(
    r"(?i)^key$|(^|_)(secret|password|passwd|token(?!_ids)|credentials?|api_key|access_key|webhook)(_|$)"
)
"""Names of environment variables, and of a job file's keys, whose values are secrets."""

HIDDEN = "***"

FEWEST_CHARACTERS = 6
"""A shorter value would be found in harmless text, and hides nothing."""

_USERINFO = re.compile(r"(?<=://)[^/?#\s\"'<>]+(?=@)")
_KEY_ID = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b")
_BEARER = re.compile(r"(?i)(?<=bearer )[\w.~+/=-]{8,}")
_PARAMETER = re.compile(
    r"(?i)([?&](?:x-amz-(?:signature|credential|security-token)|signature|sig|token|access_token"
    r"|api_key|key|password|secret)=)[^&\s\"'<>]+"
)


def redacted(text: str) -> str:
    """The text with `***` for every secret of the environment, and for what looks like one."""
    for secret in _secrets():
        text = text.replace(secret, HIDDEN)
    for shape in (_USERINFO, _KEY_ID, _BEARER):
        text = shape.sub(HIDDEN, text)
    return _PARAMETER.sub(rf"\1{HIDDEN}", text)


def redacted_values(value: Any) -> Any:
    """Plain data with every text in it redacted; names in mappings stay."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {name: redacted_values(held) for name, held in value.items()}
    if isinstance(value, list):
        return [redacted_values(held) for held in value]
    return value


def _as_written(value: str) -> tuple[str, ...]:
    """In a line, in Python's and JSON's quotes, in an address."""
    line = " ".join(value.split())
    return line, repr(value)[1:-1], quote(value), quote(value, safe="")


def _secrets() -> list[str]:
    """Values to hide, also as they stand in addresses; the longest first: one may hold another."""
    values = {
        form
        for name, value in os.environ.items()
        if SECRET_NAME.search(name) and not name.endswith("_FILE")
        for form in (value, value.strip(), *_as_written(value))
    }
    for address in os.environ.values():
        if found := _USERINFO.search(address):
            password = found[0].partition(":")[2]
            sent = base64.b64encode(unquote(found[0]).encode()).decode()  # as HTTP's `Basic`
            values |= {password, unquote(password), sent}
    return sorted((v for v in values if len(v) >= FEWEST_CHARACTERS), key=len, reverse=True)
