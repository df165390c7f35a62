"""Templates print columns and text; what has no text of its own is an error, however printed."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.exceptions import TemplateError
from jinja2.sandbox import SandboxedEnvironment

from pipeline.prompting.sandbox import LAZY_FILTERS, UNREPEATABLE, NoText, PromptEnvironment

ENVIRONMENT = PromptEnvironment()
METHODS = sorted(
    {name for kind in (dict, list, str, tuple) for name in dir(kind) if not name.startswith("_")}
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(METHODS) | st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)
identifiers = st.from_regex(r"[^\W\d]\w{0,8}", fullmatch=True).filter(str.isidentifier)
years = st.integers(0, 2100).map(str)


def rendered(template: str, **extra: Any) -> str:
    return ENVIRONMENT.from_string(template).render(extra=extra)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(METHODS) | identifiers | years, json_values, st.dictionaries(
    st.sampled_from(METHODS), json_values, max_size=4
))  # fmt: skip
def test_every_column_is_printed_whatever_its_name(name: str, value: Any, others: Any) -> None:
    extra = {**others, name: value, "nested": {**others, name: value}}
    assert rendered(f"{{{{ extra.{name} }}}}", **extra) == str(value)
    assert rendered(f"{{{{ extra.nested.{name} }}}}", **extra) == str(value)
    assert rendered(f"{{{{ extra['{name}'] }}}}", **extra) == str(value)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(METHODS) | identifiers, json_values, max_size=5))
def test_a_method_that_is_called_works_beside_a_column_of_its_name(extra: dict[str, Any]) -> None:
    names = rendered("{% for name, _ in extra.items() %}{{ name }},{% endfor %}", **extra)
    assert names == "".join(f"{name}," for name in extra)
    assert rendered("{{ extra.get('no column', 'none') }}", **extra) == "none"


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(METHODS))
def test_a_method_is_undefined_unless_it_is_called(name: str) -> None:
    for value in ({}, [], ""):
        if hasattr(value, name):
            assert rendered(f"{{{{ extra.x.{name} is defined }}}}", x=value) == "False"
            assert rendered(f"{{{{ extra.x.{name} | default('none') }}}}", x=value) == "none"


TEXTLESS = [
    "extra.items",
    "extra.x.upper",
    "extra.missing",
    "extra.tags | map('upper')",
    "extra.tags | select",
    "extra.tags | batch(1)",
    "extra.tags | reverse",
    "extra | items",
    "range",
    "cycler('a')",
    "joiner(',')",
    "self.part",
]
WAYS = ["VALUE", "VALUE ~ ''", "[VALUE]", "[VALUE] | string", "(VALUE) | string", "'%s' % [VALUE]"]
WAYS += ["'{}'.format(VALUE)", "(VALUE) | e", "{'a': VALUE}", "[[VALUE]] | pprint"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", TEXTLESS)
def test_what_has_no_text_is_an_error_however_it_is_printed(value: str, way: str) -> None:
    printed = way.replace("VALUE", f"({value})")
    with pytest.raises((NoText, TemplateError)):
        rendered("{% block part %}{% endblock %}{{ " + printed + " }}", x="a", tags=["b", "a"])


@pytest.mark.parametrize(
    "value", ["extra.values()", "range(3)", "loop", "self", "namespace(a=1)", "note"]
)
def test_objects_of_the_language_are_not_printed(value: str) -> None:
    macro = "{% macro note() %}note{% endmacro %}"
    with pytest.raises(NoText):
        rendered(macro + "{% for _ in [1] %}{{ " + value + " }}{% endfor %}", x="a")


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ extra.tags | map('upper') | join(', ') }}", "B, A"),
        ("{{ extra.tags | reverse | list }}", "['a', 'b']"),
        ("{{ extra.tags | sort | first }}", "a"),
        ("{{ extra.tags }}{{ extra.x }}{{ none }}{{ 1.5 }}{{ true }}", "['b', 'a']aNone1.5True"),
        ("{% set c = cycler('p', 'q') %}{{ c.next() }}{{ c.next() }}{{ c.current }}", "pqp"),
        ("{% set ns = namespace(n=1) %}{% set ns.n = ns.n + 1 %}{{ ns.n }}", "2"),
        ("{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(1) }}", "<1>"),
        ("{% for t in extra.tags %}{{ loop.index }}{{ loop.cycle('x', 'y') }}{% endfor %}", "1x2y"),
        ("{{ extra.x.upper() }}{{ '{}-{}'.format(1, extra.x) }}", "A1-a"),
        ("{{ range(3) | list }}{{ dict(a=1) }}{{ 'a' | tojson }}", "[0, 1, 2]{'a': 1}\"a\""),
    ],
)
def test_what_templates_printed_before_is_unchanged(template: str, text: str) -> None:
    plain = SandboxedEnvironment(autoescape=False, trim_blocks=True, lstrip_blocks=True)
    extra = {"x": "a", "tags": ["b", "a"]}
    assert plain.from_string(template).render(extra=extra) == text
    assert rendered(template, **extra) == text


def test_the_filters_that_give_iterators_are_those_of_the_list() -> None:
    arguments = {"batch": (2,), "slice": (2,), "map": ("upper",)}
    arguments |= {"selectattr": ("x",), "rejectattr": ("x",)}
    context = ENVIRONMENT.from_string("").new_context()
    lazy = set()
    for name in ENVIRONMENT.filters:
        value = {"a": 1} if name == "items" else ["b", "a"]
        with suppress(Exception):  # filters for other values
            given = ENVIRONMENT.call_filter(name, value, arguments.get(name, ()), context=context)
            lazy |= {name} if isinstance(given, Iterator) else set()
    assert lazy == LAZY_FILTERS | {"reverse"}  # of a text, reverse gives a text


@pytest.mark.parametrize("name", sorted(UNREPEATABLE))
def test_what_gives_another_text_every_time_is_not_there(name: str) -> None:
    assert name not in ENVIRONMENT.filters
    assert name not in ENVIRONMENT.globals
