"""What `overnight preview` shows a person: prompts and answers, unable to control the terminal."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.core.text import harmless, plural

Document = dict[str, Any]

REJECTS_SHOWN = 10
"""Rejects that are shown one by one; the others are counted."""

INDENT = "  "


def show_record(console: Console, record: Document) -> None:
    """A record with its prompt and answer; with two answers, side by side."""
    console.rule(Text(harmless(record["record_id"]), "bold"))
    console.print(Text(harmless(f"{record['source_uri']}#{record['source_row']}"), "dim"))
    if record["input_repairs"]:
        console.print(Text(f"input repaired: {', '.join(record['input_repairs'])}"))
    _block(console, f"prompt ({_name(record)})", _prompt(record))
    if "against" in record:
        _show_both(console, record, record["against"])
        return
    for title, text in _facts(record).items():
        _block(console, title, text)


def show_reject(console: Console, rejects: Sequence[Document]) -> None:
    """The last of some rejects, unless many were shown already."""
    if len(rejects) <= REJECTS_SHOWN:
        console.print(Text.assemble((f"reject {_place(rejects[-1])}: ", "bold"), _why(rejects[-1])))


def show_summary(console: Console, document: Document) -> None:
    """How many answers pass, how many records were rejected before, and why."""
    console.rule()
    records, rejects = document["records"], document["rejects"]
    sides = [side for r in records for side in (r, r.get("against")) if side and "status" in side]
    failed = sum(side["status"] == "failed" for side in sides)
    line = f"{plural(len(records), 'record')}, {plural(len(sides), 'answer')}, {failed:,} failed"
    if not (records or rejects):
        line = "no record: the input has none, or none that --only and input.bucket select"
    elif rejects:
        reasons = Counter(reject["reason"] for reject in rejects).most_common()
        named = ", ".join(f"{count:,} {reason}" for reason, count in reasons)
        line += f"; {plural(len(rejects), 'reject')} on the way: {named}"
    console.print(Text(f"{line}; nothing is stored"))


def _show_both(console: Console, record: Document, against: Document) -> None:
    """The changes from one prompt to the other, and both answers beside each other."""
    if "reason" in against:
        _block(console, "against", Text.assemble(("reject: ", "bold"), _why(against)))
        for title, text in _facts(record).items():
            _block(console, title, text)
        return
    same = record["prompt_key"] == against["prompt_key"]
    said = "the same prompt, under the same key" if same else "another prompt, under another key"
    changes = Text("\n").join(map(_changed_line, record["prompt_changes"]))
    _block(console, f"against {_name(against)}: {said}", changes)
    table = Table("", _name(record), _name(against), show_lines=True)
    for column in table.columns[1:]:
        column.ratio = 1
        column.overflow = "fold"
    sides = _facts(record), _facts(against)
    for title in dict.fromkeys([*sides[0], *sides[1]]):
        table.add_row(title, *(side.get(title, Text()) for side in sides))
    console.print(table, soft_wrap=False)


def _changed_line(line: str) -> Text:
    return Text(harmless(line), {"+": "green", "-": "red"}.get(line[:1], "dim"))


def _block(console: Console, title: str, text: Text) -> None:
    console.print(Text(title, "bold"))
    for line in text.split("\n", allow_blank=True):
        console.print(Text(INDENT).append_text(line))


def _facts(side: Document) -> dict[str, Text]:
    """What there is to see of an answer, by title; parts that would say nothing are left out."""
    facts: dict[str, Callable[[Document], Text]] = {
        "reasoning": lambda s: _lines(s["reasoning"]),
        "completion": _completion,
        "answer": lambda s: _lines(s["answer"] or "(empty)"),
        "result": _result,
        "checks": _checks,
        "judge": _judgements,
        "attempts": _attempts,
        "tokens": _tokens,
        "seconds": lambda s: Text(f"{s['seconds']:.2f}"),
    }
    texts = {title: fact(side) for title, fact in facts.items()}
    return {title: text for title, text in texts.items() if text}


def _prompt(side: Document) -> Text:
    """What the model reads, or the messages that an engine is sent."""
    if side["prompt"] is not None:
        return _lines(side["prompt"])
    messages = side["messages"]
    parts = [Text.assemble((f"{m['role']}: ", "dim"), _lines(m["content"])) for m in messages]
    return Text("\n").join(parts)


def _completion(side: Document) -> Text:
    """What was said after the reasoning, if that is more than the answer."""
    return Text() if side["content"] == side["answer"] else _lines(side["content"])


def _result(side: Document) -> Text:
    failed = side["status"] == "failed"
    status = f"failed {', '.join(side['failed_checks'])}" if failed else "answered"
    reason = f", finish reason {side['finish_reason']}" if side["finish_reason"] else ""
    sure = "" if side["confidence"] is None else f", confidence {side['confidence']:.2f}"
    p, verdict = side["p_answered"], side["answers_question"]
    judged = "" if p is None else f", answers the question: {verdict} ({p:.2f})"
    stance = f"stance {side['stance']}{judged}{reason}{sure}"
    return Text.assemble((status, "red" if failed else "green"), f"; {stance}")


def _checks(side: Document) -> Text:
    return Text("\n").join(_check(check) for check in side["checks"])


def _check(check: Document) -> Text:
    sign = ("✓ ", "green") if check["passed"] else ("✗ ", "red")
    level = "" if check["passed"] else f" ({check['level']})"
    return Text.assemble(sign, f"{check['name']}{level}: {harmless(check['evidence'])}")


def _judgements(side: Document) -> Text:
    return Text("\n").join(_judgement(judgement) for judgement in side["judgements"])


def _judgement(judgement: Document) -> Text:
    share = judgement["probability"]
    likely = "" if share is None else f" ({share:.2f})"
    return Text(f"{harmless(judgement['value'])}{likely}, by {harmless(judgement['rater'])}")


def _attempts(side: Document) -> Text:
    """Every attempt, if there are several, with what the others than the answer's said."""
    if len(side["attempts"]) == 1:
        return Text()
    return Text("\n").join(_attempt(n, a) for n, a in enumerate(side["attempts"], 1))


def _attempt(number: int, attempt: Document) -> Text:
    failed = attempt["failed_checks"]
    result = f"failed {', '.join(failed)}" if failed else "passed"
    line = f"{number}. {harmless('; '.join([*attempt['repairs'], result]))}"
    if attempt["is_answer"]:
        return Text(f"{line}; this is the answer")
    said = _lines(attempt["content"])
    said.stylize("dim")
    return Text.assemble(f"{line}\n", said)


def _tokens(side: Document) -> Text:
    if not (side["prompt_tokens"] or side["completion_tokens"]):
        return Text()
    prompt = f"{side['prompt_tokens']:,} prompt ({side['cached_tokens']:,} cached)"
    completion = f"{side['completion_tokens']:,} completion"
    return Text(f"{prompt}, {completion} ({side['reasoning_tokens']:,} reasoning)")


def _why(reject: Document) -> str:
    return harmless(f"{reject['reason']}: {reject['detail']}")


def _place(reject: Document) -> str:
    return harmless(f"{reject['source_uri']}#{reject['source_row']}")


def _name(side: Document) -> str:
    return harmless(f"{side['prompt_name']} {side['prompt_version']}")


def _lines(text: str) -> Text:
    """Text as it is, line by line, but for characters that could control the terminal."""
    return Text("\n".join(harmless(line.expandtabs(4)) for line in text.split("\n")))
