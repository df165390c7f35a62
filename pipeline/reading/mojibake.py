"""Repairs mojibake: UTF-8 that another tool has decoded as an 8-bit code page and stored again.

A record is repaired as a whole. Its text is encoded in a code page and decoded as UTF-8, both
strictly; most undamaged text fails at one of the two, and `is_mojibake` judges the rest.
Windows-1252 comes first: text damaged by Mac Roman never encodes in it, but `Ã©`, which is `é`
damaged by Windows, also encodes as Mac Roman and would become a combining mark.
"""

from collections.abc import Iterator
from dataclasses import replace

import ftfy.bad_codecs

from pipeline.core.records import Message, Passage, Record
from pipeline.reading.mojibake_evidence import is_mojibake

CODECS = ("sloppy-windows-1252", "mac_roman", "latin-1")

ftfy.bad_codecs.ok()  # importing it has registered the sloppy codecs with Python


def repair_text(text: str) -> tuple[str, str | None]:
    """The repaired text and the code page that damaged it, or the same text and None."""
    for codec in () if text.isascii() else CODECS:
        if codec.startswith("sloppy") and "\ufffd" in text:
            continue  # this codec is lenient here alone: it would encode the character
        try:
            repaired = text.encode(codec).decode("utf-8")
        except UnicodeError:
            continue
        if repaired != text and is_mojibake(text, repaired):
            return repaired, codec
    return text, None


def repair_record(record: Record) -> Record:
    """The record with all its texts repaired and the code page in `repairs`, or as it was."""
    # One code page must fit all fields. The separator is ASCII and so in no longer UTF-8 sequence:
    # the joined text can be repaired exactly if each field can.
    _, codec = repair_text("\n".join(_texts(record)))
    if codec is None:
        return record

    def fixed(text: str | None) -> str | None:
        return None if text is None else text.encode(codec).decode("utf-8")

    return replace(
        record,
        question=fixed(record.question),
        passages=tuple(Passage(fixed(p.text) or "", fixed(p.source)) for p in record.passages),
        messages=tuple(Message(m.role, fixed(m.content) or "") for m in record.messages),
        recorded_answer=fixed(record.recorded_answer),
        boilerplate=fixed(record.boilerplate) or "",
        extra={k: fixed(v) if isinstance(v, str) else v for k, v in record.extra.items()},
        repairs=(*record.repairs, codec),
    )


def _texts(record: Record) -> Iterator[str]:
    for passage in record.passages:
        yield passage.text
        yield passage.source or ""
    for message in record.messages:
        yield message.content
    yield record.question or ""
    yield record.recorded_answer or ""
    yield record.boilerplate
    yield from (value for value in record.extra.values() if isinstance(value, str))
