"""A subject, and what checks of the user's own find on it."""

import pickle
from dataclasses import replace
from pathlib import Path

from pipeline.answering.checks import Check, chosen_checks, run_checks
from pipeline.answering.checks.base import StoredColumns, Subject, UnknownPassages
from pipeline.core.records import CheckResult, Completion, Message, Passage
from tests.support.jobs import job

CITES = '''"""The answer names the paper's DOI."""

from pipeline.answering.checks import Ask, Finding, Subject

LEVEL = "fail"


def test(subject: Subject) -> Finding:
    doi = subject.extra["doi"]
    return Finding(doi in subject.answer, doi, Ask(f"Name {doi}."))
'''

SUBJECT = Subject(
    Completion("Eleven herons nested, says p. 4.", "stop"),
    "Eleven herons nested, says p. 4.",
    "",
    399,
    record_id="pond_Q1",
    paper_id="pond",
    question_id="Q1",
    question="How many herons nested?",
    passages=(Passage("Eleven herons nested.", "p. 4"), Passage("Rain fell.")),
    extra={"doi": "10.1000/pond", "year": 2021, "tags": ["birds"]},
    messages=(Message("user", "How many?"),),
)


STORED = replace(
    SUBJECT,
    passages=UnknownPassages(),
    extra=StoredColumns({"doi": "10.1000/pond"}, frozenset({"doi", "journal"})),
)


BODY = "    return Finding(True, 'seen')\n"
HEAD = "from pipeline.answering.checks import Ask, Finding\n"
RUN = f"{HEAD}def test(subject):\n"


def settings(**checks) -> dict:
    return job("in", "store", checks=checks).checks


def write(source: str, name: str = "cites.py") -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(source, encoding="utf-8")
    return name


def own_check(setting, key: str = "cites.py"):
    (check,) = (c for c in chosen_checks(settings(**{key: setting})) if c.digest)
    return check


def copied(check: Check) -> Check:
    """A check as it arrives in another process."""
    return pickle.loads(pickle.dumps(check))  # noqa: S301


def found(setting, subject: Subject = SUBJECT, key: str = "cites.py") -> CheckResult:
    (result,), _ = run_checks((own_check(setting, key),), subject)
    return result


def found_by(source: str, subject: Subject = SUBJECT) -> CheckResult:
    write(source)
    return found("fail", subject)
