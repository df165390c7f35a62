"""A text file as one record: prompt, then the answer that an earlier model gave."""

import re
from pathlib import PurePosixPath

from pipeline.config.schema import TextGrammar
from pipeline.core.records import PLAIN, Fault, Message, Passage, Place, Record
from pipeline.reading.mojibake import repair_text

_PAPER_AND_QUESTION = re.compile(r"(?P<paper>.+)_(?P<question>CQ\d+)", re.DOTALL)
_STORED_AS = {".txt", ".gz", ".zst", ".zstd"}


def text_record(data: bytes, place: Place, grammar: TextGrammar) -> Record:
    """Parses one text file; raises `Fault` where it is no text, or not of the grammar."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Fault("not_utf8", f"byte {error.start} is not UTF-8: {error.reason}") from error
    text, codec = repair_text(text)
    repairs = [codec] if codec else []
    # A checkout or an editor may have rewritten every line end; a text with some of each has not
    # been through that, and keeps its bytes.
    if "\r\n" in text and text.count("\r\n") == text.count("\n"):
        text = text.replace("\r\n", "\n")
        repairs.append("crlf")
    record_id = record_id_of(place.uri)
    named = _PAPER_AND_QUESTION.fullmatch(record_id)
    context, instructions, question, answer_start = _find_block(text, grammar)
    return Record(
        record_id=record_id,
        place=place,
        paper_id=named["paper"] if named else None,
        question_id=named["question"] if named else None,
        question=question,
        passages=(Passage(context),),
        messages=(Message(PLAIN, text[:answer_start]),),
        recorded_answer=text[answer_start:],
        boilerplate=_boilerplate(instructions, grammar),
        extra={"instructions": instructions},
        repairs=tuple(repairs),
    )


def text_boilerplate(prompt: str, grammar: TextGrammar) -> str:
    """What a text record's prompt holds besides context and question; `Fault` if it is none."""
    _, instructions, _, _ = _find_block(prompt, grammar)
    return _boilerplate(instructions, grammar)


def _boilerplate(instructions: str, grammar: TextGrammar) -> str:
    return "\n".join((grammar.preamble, instructions, grammar.after_question))


def record_id_of(uri: str) -> str:
    """A text file's record id: its name without `.txt` and what it is compressed with."""
    name = PurePosixPath(uri)
    while name.suffix.lower() in _STORED_AS:
        name = name.with_suffix("")
    return name.name


def _find_block(text: str, grammar: TextGrammar) -> tuple[str, str, str, int]:
    """Context, instructions, question and the offset of the answer, by the first whole block.

    A model's answer may invent further blocks, and a context may quote half of one. So the first
    closing part decides, and its opening parts are the nearest ones before it, no further back
    than the closing part before: the search stays linear on hostile text.
    """
    opening = grammar.preamble + "\n\n"
    if not text.startswith(opening):
        raise Fault(
            "unparsable_text", f"does not begin with the preamble {grammar.preamble[:40]!r}…"
        )
    block = "\n\n" + grammar.before_instructions
    start, missing = len(opening), grammar.after_question
    while (close := text.find(grammar.after_question, start)) >= 0:
        asked = text.rfind(grammar.before_question, start, close)
        # The block may follow an empty context, whose blank line is the preamble's.
        told = text.rfind(block, start - 2, asked) if asked >= 0 else -1
        if told >= 0:
            return (
                text[len(opening) : max(told, len(opening))],
                text[told + len(block) : asked],
                text[asked + len(grammar.before_question) : close],
                close + len(grammar.after_question),
            )
        missing = grammar.before_question if asked < 0 else block
        start = close + len(grammar.after_question)
    raise Fault("unparsable_text", f"no whole question block: {missing.strip()[:40]!r} is missing")
