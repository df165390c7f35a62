"""Mojibake: UTF-8 that some earlier tool decoded as an 8-bit code page and stored again.

The repair is for a record as a whole: it is encoded back with a code page and read as UTF-8, both
strictly, so that a text which was never damaged fails one of the two and stays as it is. Windows
goes first: what Mac Roman damaged never encodes as Windows-1252, but `Ã©`, which Windows made of
`é`, does encode as Mac Roman, into a combining mark.
"""

from collections.abc import Iterator
from dataclasses import replace

import ftfy.bad_codecs

from pipeline.core.records import Message, Passage, Record

CODECS = ("sloppy-windows-1252", "mac_roman", "latin-1")

ftfy.bad_codecs.ok()  # its import registers the sloppy codecs with Python


def repair_text(text: str) -> tuple[str, str | None]:
    """The text as it was before the damage, and the code page at fault; else as given, and None."""
    for codec in () if text.isascii() else CODECS:
        if codec.startswith("sloppy") and "\ufffd" in text:
            continue  # its one lenience: it would encode the replacement character
        try:
            mended = text.encode(codec).decode("utf-8")
        except UnicodeError:
            continue
        if mended != text:
            return mended, codec
    return text, None


def repair_record(record: Record) -> Record:
    """A record whose texts, taken together, were mended, with the code page in `repairs`."""
    # One code page must fit every field: an ASCII separator can be part of no UTF-8 sequence,
    # so this decides as it would on the fields one by one, all of them or none.
    _, codec = repair_text("\n".join(_texts(record)))
    if codec is None:
        return record

    def mend(text: str | None) -> str | None:
        return None if text is None else text.encode(codec).decode("utf-8")

    return replace(
        record,
        question=mend(record.question),
        passages=tuple(Passage(mend(p.text) or "", mend(p.source)) for p in record.passages),
        messages=tuple(Message(m.role, mend(m.content) or "") for m in record.messages),
        recorded_answer=mend(record.recorded_answer),
        boilerplate=mend(record.boilerplate) or "",
        extra={k: mend(v) if isinstance(v, str) else v for k, v in record.extra.items()},
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
