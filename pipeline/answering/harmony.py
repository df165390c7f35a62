"""Splits a completion in harmony, the format of gpt-oss, whose messages each name a channel.

Its tokens may be there, or stripped: `analysisThe log says…assistantfinalForty urchins.`
After openai/harmony's description of the format.
"""

import re
from typing import NamedTuple

from pipeline.answering.mark_context import code_blocks, is_code, is_named, is_quoted, is_within
from pipeline.core.records import Split

_END = r"<\|(?:end|call|return)\|>"
_HEADER = re.compile(
    rf"(?:\A\s*|{_END}\s{{0,9}}|(?=<\|start\|>|assistant<|<\|channel\|>final))(?:<\|start\|>)?(?:assistant)?"
    r"\s?(?:to=[^<>\n]{0,80})?<\|channel\|>\s?(?P<channel>analysis|commentary|final)"
    r"(?:[^<\n]|<\|constrain\|>){0,120}?<\|message\|>"
)
_OPENED = re.compile(r"\s*(?:<\|channel\|>)?(?:analysis)?<\|message\|>")
"""What is left of the first header if the chat template has written its beginning."""
_CUT_END = re.compile(rf"{_END}(?:\s{{0,9}}<\|?s?[^\n]{{0,120}})?\Z")
"""The end of a message, and as much of the next header as a completion that is cut has."""
_FIRST = re.compile(r"\s*(?:(?:assistant)?(?P<channel>analysis|commentary))")
_NEXT = re.compile(r"assistant(?P<channel>analysis|commentary|final)")
_TOOL = re.compile(r"\s*to=\S+")


class Message(NamedTuple):
    channel: str
    is_call: bool  # of a tool, not for the user
    text: str


def split_harmony(text: str) -> Split | None:
    """None for a text in another format."""
    headers = _headers(text) if "<|channel|>" in text else []
    if "assistantfinal" in text or text.lstrip().startswith(("analysis", "commentary")):
        headers = headers or _stripped_headers(text)
    return _split(_messages(text, headers)) if headers else None


def _split(messages: list[Message]) -> Split:
    """The answer is in the channel `final`, or in `commentary` if nothing is; the rest is thought.

    A completion without either ends before its answer.
    """
    for_user = [m for m in messages if not m.is_call]
    channel = "final" if any(m.channel == "final" for m in for_user) else "commentary"
    said = [m.text for m in for_user if m.channel == channel]
    thought = [m.text for m in messages if m.is_call or m.channel != channel]
    return Split("\n\n".join(filter(None, thought)), "\n".join(said), is_closed=bool(said))


def _messages(text: str, headers: list[re.Match[str]]) -> list[Message]:
    """What stands before the first header is a thought that the chat template has opened."""
    opened = _OPENED.match(text)
    before = text[opened.end() if opened else 0 : headers[0].start()].strip()
    messages = [Message("analysis", False, before)] if before else []
    ends = [*(header.start() for header in headers[1:]), len(text)]
    for header, end in zip(headers, ends, strict=True):
        words = _CUT_END.sub("", text[header.end() : end].strip()).strip()
        messages.append(Message(header["channel"], "to=" in header[0], words))
    return messages


def _headers(text: str) -> list[re.Match[str]]:
    """The headers of messages; none if the first is a word of a sentence about harmony."""
    blocks = code_blocks(text)
    headers = [
        header
        for header in _HEADER.finditer(text)
        if not is_within(blocks, header.start())
        and not is_code(text, *header.span())
        and not (header[0].startswith("<|channel|>") and _is_spoken_of(text, header))
    ]
    return headers if headers and not _is_spoken_of(text, headers[0]) else []


def _is_spoken_of(text: str, header: re.Match[str]) -> bool:
    return is_quoted(text, *header.span()) or is_named(text, *header.span())


def _stripped_headers(text: str) -> list[re.Match[str]]:
    """The same where they are words, each glued to the text behind it; none without an answer,
    unless the text begins with one.
    """
    first = _FIRST.match(text)
    if first and not _is_glued(text, first):
        first = None
    others = _NEXT.finditer(text, first.end() if first else 0)
    headers = [h for h in others if (first or _is_glued(text, h)) and not _is_word(text, h)]
    if first:
        return [first, *headers]
    return headers if any(header["channel"] == "final" for header in headers) else []


def _is_glued(text: str, header: re.Match[str]) -> bool:
    behind = text[header.end() : header.end() + 1]
    if behind.isalpha() or not behind:
        return not behind.islower() and header["channel"] != text.strip()
    if behind == "\n":
        return header["channel"] == "final" or text[header.end() :].lstrip().startswith("assistant")
    return behind in "\"“'‘*#[({|" or behind.isdigit() or bool(_TOOL.match(text, header.end()))


def _is_word(text: str, header: re.Match[str]) -> bool:
    """Whether the name of a channel is a word of a text that speaks of it."""
    start, end = header.span()
    around = text[max(0, start - 1) : start] + text[end : end + 1]
    return around == "  " or is_code(text, start, end) or is_quoted(text, start, end)
