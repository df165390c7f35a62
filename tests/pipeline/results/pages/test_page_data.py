"""The data of a page, as the page's script reads it."""

import base64
import gzip
from typing import NamedTuple

import orjson
import pytest

from pipeline.core.text import visible
from pipeline.results.pages.page import compressed_json


class Pair(NamedTuple):
    name: str
    count: int


def read(data: str):
    return orjson.loads(gzip.decompress(base64.b64decode(data)))


def test_content_without_invisible_characters_stays_as_it_is():
    content = {"rows": [Pair("a", 1), ("b", None, 0.5)], "text": "tab\t, line\n, \\beta, 海胆"}
    assert read(compressed_json(content)) == {
        "rows": [["a", 1], ["b", None, 0.5]],
        "text": "tab\t, line\n, \\beta, 海胆",
    }


def test_every_invisible_character_becomes_visible_wherever_it_stands():
    texts = [f"a{chr(code)}b" for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    changed = [text for text in texts if visible(text) != text]
    assert len(changed) > 60
    for text in changed:
        assert read(compressed_json(["x", Pair(text, 1)])) == ["x", [visible(text), 1]]


def test_what_is_no_json_is_no_content():
    with pytest.raises(TypeError):
        compressed_json({"of": {1, 2}})
