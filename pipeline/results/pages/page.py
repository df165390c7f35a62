"""A page in one file: its template, style and script, and what it holds, packed.

All that a page shows of papers and models is hostile. The template escapes it; what the script
shows travels as compressed JSON and becomes text nodes, never markup; and the page forbids itself,
by its Content-Security-Policy, every script and style but its own and every request.
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

from pipeline.core.text import visible

PAGE_BYTES = 7_000_000
"""Of packed content beside figures and cells; a browser opens a page of that size at once."""

SCHEME = "application/x-overnight"
"""The type of scripts that are data; no browser runs them."""


def packed(content: Any) -> str:
    """JSON of what a script shows, compressed, in letters that are safe in HTML."""
    return base64.b64encode(gzip.compress(orjson.dumps(_visible(content)), 9, mtime=0)).decode()


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


def page(name: str, held: Iterable[tuple[str, str]], **shown: Any) -> str:
    """The page `assets/<name>.html` with its script; `held` are packed contents by name."""
    style, script = _asset("page.css"), _asset("page.js") + _asset(f"{name}.js")
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
            held=list(held),
            scheme=SCHEME,
            **shown,
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
    environment.filters.update(shown=shown, change=change)
    return environment


def shown(value: float | None, unit: str) -> str:
    """A figure as people read it."""
    if value is None:
        return "–"
    match unit:
        case "share":
            return f"{value:.1%}"
        case "hours" | "money":
            return f"{value:,.2f}"
        case "seconds":
            return (
                f"{value // 3600:.0f} h {value % 3600 // 60:.0f} min"
                if value >= 3600
                else (
                    f"{value // 60:.0f} min {value % 60:.0f} s" if value >= 60 else f"{value:.1f} s"
                )
            )
        case _:
            return f"{value:,.0f}"


def change(value: float | None, unit: str) -> str:
    """A difference of two figures, with its sign."""
    if not value:
        return "" if value is None else "±0"
    sign = "+" if value > 0 else "−"
    return (
        f"{sign}{100 * abs(value):.1f} points"
        if unit == "share"
        else sign + shown(abs(value), unit)
    )
