"""The answer is finished: neither its finish reason nor its text shows that it was cut off.

A model that stopped of its own accord is believed unless the text plainly breaks off. An answer
without a finish reason, such as a recorded one, must also end as texts end.
"""

from pipeline.answering.checks.base import Finding, Subject, quote, unclosed_thought
from pipeline.answering.ending import likely_break, plain_break
from pipeline.core.records import Ask, Level

LEVEL: Level = "fail"

_BROKEN_OFF = ("abort", "error")


def test(subject: Subject) -> Finding:
    completion = subject.completion
    if finding := unclosed_thought(completion):
        return finding
    reason = completion.finish_reason
    evidence = f"finish reason {reason}" if reason else "ends as a text ends"
    if reason == "length" and completion.context_full:
        return Finding(False, f"{evidence}: the model's context is full")
    if reason == "length":
        evidence += f" after {completion.completion_tokens} tokens"
        return Finding(False, evidence, "more_tokens")
    if reason in _BROKEN_OFF:
        return Finding(False, evidence, "sample_anew")
    if not subject.is_prose:
        return Finding(True, evidence if reason else "the format tells its end")
    why = plain_break(subject.answer) or (None if reason else likely_break(subject.answer))
    return _broken_off(subject.answer, why) if why else Finding(True, evidence)


def _broken_off(answer: str, why: str) -> Finding:
    ending = quote(answer.rsplit("\n", 1)[-1][-80:])
    ask = Ask(f'Your answer breaks off at "{ending}". Give the whole answer again, to its end.')
    return Finding(False, f"{why}: …{ending}", ask)
