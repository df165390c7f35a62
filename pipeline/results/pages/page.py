"""Renders a page as one HTML file with its style, script and compressed data.

Text of papers and models is untrusted. The template escapes what it prints; what the script shows
travels as compressed JSON and becomes text nodes, never markup; and the page's own
Content-Security-Policy forbids all other scripts and styles, and every request.
"""

import base64
import gzip
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.core.text import is_visible, plural, visible

LEVEL = 6
"""Of compression: 9 takes three times as long and saves one percent."""

MAX_DATA_BYTES = 7_000_000
"""Compressed texts in a page, besides figures and cells. A browser opens this much at once."""

_ESCAPES = (b"\\u00", b"\\b", b"\\f")
"""How JSON writes invisible characters that it does not leave as they are."""

DATA_TYPE = "application/x-overnight"
"""The `type` of script elements that are data; no browser runs them."""


SCRIPTS = {
    "run": (
        *("page.js", "support.js", "answer.js", "marks.js", "rows.js", "grid.js", "matrix.js"),
        *("columns.js", "table.js", "first.js", "run.js"),
    ),
    "unchanged": (),
    "comparison": ("page.js", "comparison.js"),
}
"""The scripts of each page, in order."""


def compressed_json(content: Any) -> str:
    """Content for a script as gzipped JSON in Base64, with invisible characters made visible."""
    data = orjson.dumps(content, default=_as_list)
    if any(escape in data for escape in _ESCAPES) or not is_visible(data.decode()):
        data = orjson.dumps(_visible(content))
    return base64.b64encode(gzip.compress(data, LEVEL, mtime=0)).decode()


def _as_list(value: Any) -> list[Any]:
    """A named tuple for JSON."""
    if isinstance(value, tuple):
        return [*value]
    raise TypeError(f"no JSON: {type(value)}")


def _visible(content: Any) -> Any:
    match content:
        case str():
            return visible(content)
        case Mapping():
            return {name: _visible(value) for name, value in content.items()}
        case list() | tuple():
            return [_visible(value) for value in content]
        case _:
            return content


def render_page(name: str, data: Iterable[tuple[str, str]], **context: Any) -> str:
    """Renders `assets/<name>.html` with its scripts; `data` is compressed JSON by name."""
    style, script = _asset("design.css") + _asset("page.css"), "".join(map(_asset, SCRIPTS[name]))
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        _environment()
        .get_template(f"{name}.html")
        .render(
            style=Markup(style),  # noqa: S704  our own files
            script=Markup(script),  # noqa: S704
            policy=policy,
            data=list(data),
            data_type=DATA_TYPE,
            **context,
        )
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}"


@cache
def _asset(name: str) -> str:
    return (files("pipeline.results.pages") / "assets" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pipeline.results.pages", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.filters.update(figure=format_figure, change=format_change, plural=plural)
    return environment


def format_figure(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    match unit:
        case "share":
            return f"{value:.1%}"
        case "hours" | "money":
            return f"{value:,.2f}"
        case "seconds":
            return _format_seconds(value)
        case _:
            return f"{value:,.0f}"


def _format_seconds(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"
    if seconds >= 60:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{seconds:.1f} s"


def format_change(value: float | None, unit: str) -> str:
    """The difference of two figures, with its sign; shares in percentage points."""
    if not value:
        return "" if value is None else "±0"
    sign = "+" if value > 0 else "−"
    if unit == "share":
        return f"{sign}{100 * abs(value):.1f} points"
    return sign + format_figure(abs(value), unit)
