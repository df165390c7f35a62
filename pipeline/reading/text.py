"""Reads a text file as one record: a prompt, followed by an earlier model's answer."""

import re
from pathlib import PurePosixPath

from pipeline.config.schema import TextGrammar
from pipeline.core.records import PLAIN, Fault, Message, Passage, Place, Record
from pipeline.reading.mojibake import repair_text

_PAPER_AND_QUESTION = re.compile(r"(?P<paper>.+)_(?P<question>CQ\d+)", re.DOTALL)
_EXTENSIONS = {".txt", ".gz", ".zst", ".zstd"}


def text_record(data: bytes, place: Place, grammar: TextGrammar) -> Record:
    """Parses a text file; raises `Fault` if it is not UTF-8 or does not follow the grammar."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Fault("not_utf8", f"byte {error.start} is not UTF-8: {error.reason}") from error
    text, codec = repair_text(text)
    repairs = [codec] if codec else []
    # A checkout or an editor rewrites all line ends, so text with both kinds was not rewritten.
    if "\r\n" in text and text.count("\r\n") == text.count("\n"):
        text = text.replace("\r\n", "\n")
        repairs.append("crlf")
    record_id = record_id_of(place.uri)
    named = _PAPER_AND_QUESTION.fullmatch(record_id)
    context, instructions, question, answer_start = _split(text, grammar)
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
    """A text record's prompt without context and question; raises `Fault` like `text_record`."""
    _, instructions, _, _ = _split(prompt, grammar)
    return _boilerplate(instructions, grammar)


def _boilerplate(instructions: str, grammar: TextGrammar) -> str:
    return "\n".join((grammar.preamble, instructions, grammar.after_question))


def record_id_of(uri: str) -> str:
    """A text file's record id: its name without `.txt`, `.gz` and the like."""
    name = PurePosixPath(uri)
    while name.suffix.lower() in _EXTENSIONS:
        name = name.with_suffix("")
    return name.name


def _split(text: str, grammar: TextGrammar) -> tuple[str, str, str, int]:
    """Context, instructions, question and the offset of the answer, from the first complete block.

    A model's answer may invent more blocks, and a context may quote a part of one. So the first
    closing part counts that has opening parts before it; the nearest ones belong to it. They are
    searched no further back than the previous closing part, which keeps the search linear.
    """
    opening = grammar.preamble + "\n\n"
    if not text.startswith(opening):
        raise Fault(
            "unparsable_text",
            f"does not begin with input.text.preamble: {grammar.preamble[:40]!r}…",
        )
    block = "\n\n" + grammar.before_instructions
    start, missing = len(opening), grammar.after_question
    while (close := text.find(grammar.after_question, start)) >= 0:
        query = text.rfind(grammar.before_question, start, close)
        # After an empty context, the preamble's blank line is also the block's.
        begin = text.rfind(block, start - 2, query) if query >= 0 else -1
        if begin >= 0:
            return (
                text[len(opening) : max(begin, len(opening))],
                text[begin + len(block) : query],
                text[query + len(grammar.before_question) : close],
                close + len(grammar.after_question),
            )
        missing = grammar.before_question if query < 0 else block
        start = close + len(grammar.after_question)
    raise Fault(
        "unparsable_text", f"no complete question block: {missing.strip()[:40]!r} is missing"
    )
