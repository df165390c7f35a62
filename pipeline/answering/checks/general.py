"""The answer makes no general remark: nothing about the world at large in place of the paper.

"Typically, a learning rate of 0.001 is used" tells nothing of what this paper did. A remark that
the passages make in much the same words is theirs.
"""

from pipeline.answering.checks.base import Finding, Subject
from pipeline.answering.grounding.remarks import general_sentences, may_generalise, says_so
from pipeline.core.records import Ask, Claim, Level
from pipeline.core.text import content_words, quote

LEVEL: Level = "label"
OF_PROSE = True

COVERED = 0.7
"""Share of a remark's words in one sentence of the prompt that makes it the prompt's own."""

BEGINNING = 4
"""Letters of a word that inflections leave alone."""

_ASK = Ask(
    "Your answer contains general remarks, which say nothing about this paper. Give your answer "
    "again, with what the passages say alone."
)


def test(subject: Subject) -> Finding:
    answer = subject.answer
    if not may_generalise(answer):
        return Finding(True, "no general remark")
    remarks = [sentence for sentence in general_sentences(answer) if says_so(sentence.text)]
    own = [sentence for sentence in remarks if not _is_of_prompt(subject, sentence.text)]
    if not own:
        return Finding(True, "no general remark")
    claims = tuple(Claim("general", answer[s.start : s.end], s.start, s.end) for s in own)
    return Finding(False, quote(f"general remark: {own[0].text}"), _ASK, claims)


def _is_of_prompt(subject: Subject, remark: str) -> bool:
    words = content_words(remark)
    least = COVERED * len(words)
    # Its sentences are looked at one by one only where they could hold that many of the words.
    text = subject.ground.text.lower()
    if sum(word[:BEGINNING] in text for word in words) < least:
        return False
    return any(len(words & known) >= least for _, known in subject.ground.sentences)
