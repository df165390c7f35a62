"""The answer makes no general remark: nothing about the world at large in place of the paper.

"Typically, a learning rate of 0.001 is used" tells nothing of what this paper did. A remark that
the passages make in much the same words is theirs.
"""

from pipeline.answering.checks.base import Finding, Subject
from pipeline.answering.grounding.nearest import claim_at
from pipeline.answering.grounding.remarks import USUAL, general_sentences, says_so
from pipeline.core.records import Ask, Level
from pipeline.core.text import content_words, quote

LEVEL: Level = "label"
OF_PROSE = True

COVERED = 0.7
"""Share of a remark's words in one sentence of the prompt that makes it the prompt's own."""

_ASK = Ask(
    "Your answer contains general remarks, which say nothing about this paper. Give your answer "
    "again, with what the passages say alone."
)


def test(subject: Subject) -> Finding:
    if not USUAL.search(subject.answer):
        return Finding(True, "no general remark")
    remarks = [s for s in general_sentences(subject.answer) if says_so(s.text)]
    own = [s for s in remarks if not _is_of_prompt(subject, s.text)]
    if not own:
        return Finding(True, "no general remark")
    claims = tuple(claim_at(subject, "general", s.start, s.end) for s in own)
    return Finding(False, quote(f"general remark: {own[0].text}"), _ASK, claims)


def _is_of_prompt(subject: Subject, remark: str) -> bool:
    words = content_words(remark)
    return any(len(words & known) >= COVERED * len(words) for _, known in subject.ground.sentences)
