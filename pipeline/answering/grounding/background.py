"""Sentences that explain a thing of the field, or guess, rather than report from the paper.

They say what a thing is, what it is good for, or what could have been used. Answers put names of
well-known software and data into them, which are no claims about the paper.
"""

import re

from pipeline.answering.grounding.remarks import is_usual

_TEXT = r"(?:texts?|contexts?|passages?|articles?|documents?|excerpts?)"
_OF_PAPER = re.compile(
    r"(?i)\b(?:authors?|mention\w*|stat(?:es|ed)|discuss\w*|describ\w*|reported|propos(?:es|ed)"
    r"|compar(?:es|ed)|focus(?:es|ed)|we|our|papers?|stud(?:y|ies)(?! (?:area|site|region)s?\b)"
    rf"|(?:the|this|these|provided|given) (?:\w+ )?(?:{_TEXT}|pipeline|research))\b"
)
"""Words of a sentence that speaks of the paper."""
_DONE = re.compile(
    r"(?i)\b(?:was|were|(?<!\bbe )used(?! (?:for|to|in (?:deep|machine)|with)\b)|utiliz\w+|uses"
    r"|employ(?:s|ed)?|they (?:use|train|collect|evaluate|apply)"
    r"|(?:the|this|these) (?:(?!trained|deployed|saved|final|learned)\w+ )?models?)\b"
)
"""Words of a sentence that tells what was done."""

_SUBJECT = (
    r"(?:The |An? )?(?:[A-Z][\w+-]{0,30}[A-Z\d][\w+-]{0,30}|Adam"
    r"|(?!(?:This|These|They|It)\b)[A-Z][a-z]{1,30})"
)
_VERB = (
    r"(?:is|are|has|have|(?:combine|increase|involve|include|provide|support|adapt|offer|consist"
    r"|contain|allow|enable|introduce|help|create|require)s?)"
)
_KINDS = (
    r"(?:methods?|techniques?|algorithms?|platforms?|frameworks?|librar(?:y|ies)|tools?|strateg\w+"
    r"|approach(?:es)?|variants?(?: of \w+)?|optimizers?|services?|projects?|sensors?|resources?)"
)
_EXPLAINS = re.compile(
    rf"{_SUBJECT}(?: [a-z]+ly)? [a-z]{{3,}}s (?!of\b)|"
    rf"[-*•\d.)\s\[]*(?:For (?:example|instance), |However, |Additionally, )?{_SUBJECT}"
    r"(?:\*\*)?:?(?:,? [\w+'’-]+| \([^()]*\):?){0,8}?,? " + _VERB + r"\s"
    r"|.*\b(?:combin\w+ (?:the )?(?:advantages|benefits|best|ideas)|can (?:also )?\w+|would|should"
    r"|important to consider)\b"
    r"|(?:Common|Popular|Other|Some|Many|Several|Various|Examples)\b.*\b(?:includes?|are)\b"
    r"|These (?:\w+ )?(?:can )?include\b"
    r"|.*\bThere are (?:many|several|various)\b",
    re.DOTALL,
)
_DEFINES = re.compile(
    rf"(?:For (?:example|instance), |However, )?{_SUBJECT}"
    r"(?:,? (?!used|models?)[\w+'’-]+){0,6},? (?:is|are) an? (?!(?:\w+ )?(?:CNN|model)\b)"
)
_SUCH_AS = re.compile(rf"(?i)\b{_KINDS}(?: \([^()]*\))?,? (?:such as|like|including)\b[^.;]*$")
_GUESSES = re.compile(
    r"\b(?:could|might|may|possib(?:le|ly)|likely|perhaps|presumably|assum\w+|speculat\w+|suggest\w*|infer\w*"
    r"|recommend\w*|widely[- ]used|you can|it is common|typically|usually|commonly|generally"
    r"|interested in|can refer|one of the first|applies to all|[Ii]f the"
    r"|is (?:the|an?) (?:algorithm|method|technique|process) (?:used|that))\b"
)
_ASIDE = re.compile(
    r"(?:on top of|written in|implemented in|available in|known for"
    r"|which (?:often|was (?:originally|initially|first)|is|are|has|can"
    r"|(?:provide|support|allow)s?))\b[^.;]*$"
)


def speaks_of_paper(sentence: str) -> bool:
    """Whether a sentence reports what the paper says or did."""
    return bool(_OF_PAPER.search(sentence) or _DONE.search(sentence))


def is_background(sentence: str, at: int) -> bool:
    """Whether what stands at an offset of a sentence is said of the field, or guessed."""
    if _ASIDE.search(sentence[:at]) or _GUESSES.search(sentence):
        return True
    if _OF_PAPER.search(sentence):
        return False
    if is_usual(sentence) or _DEFINES.match(sentence):
        return True
    return not _DONE.search(sentence) and bool(
        _EXPLAINS.match(sentence) or _SUCH_AS.search(sentence[:at])
    )
