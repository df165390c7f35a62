"""Removes secrets from messages, `run.json`, notifications and tracebacks.

Secrets come from the environment, so their values are known and can be searched for verbatim.
Anything else that looks like a secret is hidden, too.
"""

import base64
import os
import re
from typing import Any
from urllib.parse import quote, unquote

SECRET_NAME = re.compile(
    r"(?i)^key$|(^|_)(secret|password|passwd|token(?!_ids)|credentials?|api_key|access_key|webhook"
    r"|account_key|private_key|connection_string)(_|$)"
)
"""Matches names of environment variables and keys of a job file whose values are secrets."""

HIDDEN = "***"

_PATHS = ("_FILE", "GOOGLE_APPLICATION_CREDENTIALS")
"""Endings of names of variables that say in which file a secret is."""

FEWEST_CHARACTERS = 6
"""Shorter values are not searched for: they would match harmless text."""

# The whole userinfo of an address: a token may stand there as a user name without a password. What
# stands there without one in an address of Azure is the container.
_USERINFO = re.compile(
    r"(?<=://)(?:(?<!az://)(?<!abfs://)(?<!abfss://)|(?=[^/?#\s\"'<>@]*:))[^/?#\s\"'<>]+(?=@)"
)
_KEY_ID = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b")
_BEARER = re.compile(r"(?i)(?<=bearer )[\w.~+/=-]{8,}")
_CONNECTION = re.compile(r"(?i)\b((?:account_?key|shared_?access_?signature)=)[^;\s\"'<>]+")
"""Parts of a connection string of Azure."""

_PARAMETER = re.compile(
    r"(?i)([?&](?:x-(?:amz|goog)-(?:signature|credential|security-token)|signature|sig|token|access_token"
    r"|api_key|key|password|secret)=)[^&\s\"'<>]+"
)


def redacted(text: str) -> str:
    """Replaces secrets of the environment, and whatever looks like a secret, by `***`."""
    for secret in _secrets():
        text = text.replace(secret, HIDDEN)
    for pattern in (_USERINFO, _KEY_ID, _BEARER):
        text = pattern.sub(HIDDEN, text)
    text = _CONNECTION.sub(rf"\1{HIDDEN}", text)
    return _PARAMETER.sub(rf"\1{HIDDEN}", text)


def redacted_values(value: Any) -> Any:
    """Plain data with every string in it redacted; keys of mappings stay as they are."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {name: redacted_values(item) for name, item in value.items()}
    if isinstance(value, list):
        return [redacted_values(item) for item in value]
    return value


def _spellings(value: str) -> tuple[str, ...]:
    """The value in one line, as escaped by Python and JSON, and as quoted in addresses."""
    line = " ".join(value.split())
    return value, value.strip(), line, repr(value)[1:-1], quote(value), quote(value, safe="")


def _parts(value: str) -> list[str]:
    """The secrets in a connection string of Azure, and in a signature of shared access."""
    found = re.findall(
        r"(?i)(?:\b(?:AccountKey|SharedAccessSignature)=|(?:^|[?&])sig=)([^;&]+)", value
    )
    return [*found, *map(unquote, found)]


def _secrets() -> list[str]:
    """All values to hide, the longest first, as one may contain another."""
    values = {
        spelling
        for name, value in os.environ.items()
        if SECRET_NAME.search(name) and not name.endswith(_PATHS)
        for part in (value, *_parts(value))
        for spelling in _spellings(part)
    }
    for address in os.environ.values():
        if userinfo := _USERINFO.search(address):
            password = userinfo[0].partition(":")[2]
            basic = base64.b64encode(unquote(userinfo[0]).encode()).decode()  # an HTTP header's
            values |= {password, unquote(password), basic}
    return sorted((v for v in values if len(v) >= FEWEST_CHARACTERS), key=len, reverse=True)
