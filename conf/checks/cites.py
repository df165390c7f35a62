"""The answer cites pages of its passages, and no others."""

import re

from pipeline.answering.checks import Ask, Finding, Subject

LEVEL = "label"

PAGE = re.compile(r"\bp\. ?\d+")


def test(subject: Subject, *, least: int = 1) -> Finding:
    cited = sorted(set(PAGE.findall(subject.answer)))
    pages = {passage.source for passage in subject.passages}
    if strange := [page for page in cited if page not in pages]:
        return Finding(False, f"not a passage's: {', '.join(strange)}", Ask("Check your pages."))
    evidence = f"cited: {', '.join(cited) or 'none'}"
    return Finding(len(cited) >= least, evidence, Ask(f"Cite {least} or more pages, as in p. 4."))
