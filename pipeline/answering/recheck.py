"""Evaluates stored completions again: with new checks, limits or extraction, and no engine."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import pyarrow as pa

from pipeline.answering.checks import Check, digests_of, not_known
from pipeline.answering.checks.base import Finding, NotStored, Subject
from pipeline.answering.evaluate import EvaluatedAttempt, Evaluator, without_completion
from pipeline.answering.past_runs import PastRuns
from pipeline.answering.stored_rows import Row, stored_completion, stored_prompt
from pipeline.config.schema import TextGrammar
from pipeline.core.arrow import carry
from pipeline.core.records import (
    ENGINE_ERROR,
    Answered,
    Fault,
    Prompt,
)
from pipeline.prompting.template import PromptSource, boilerplate_of
from pipeline.reading.text import text_boilerplate
from pipeline.store.schema import OUTCOMES, answers_table

EVALUATED = (
    "standing",
    "status",
    "stance",
    "answers_question",
    "p_answered",
    "answer",
    "completion",
    "reasoning",
    "confidence",
    "fields",
    "probabilities",
    "finish_reason",
    "generated_for",
    "failed_checks",
    "checks",
    "claims",
    "attempts",
    "word_count",
)
"""Columns that an evaluation decides; all others stay as they were generated."""


@dataclass(frozen=True, slots=True)
class Boilerplates:
    """The text of stored prompts that is neither passage nor question.

    For rows of a template it comes from the template of that name and version in its latest run,
    for ready prompts from the grammar of text records.
    """

    sources: Mapping[tuple[str, str], PromptSource]
    grammar: TextGrammar

    @classmethod
    def of_runs(cls, runs: Iterable[Mapping[str, Any]], grammar: TextGrammar) -> Self:
        """From the contents of `run.json` files, oldest run first."""
        prompts = (run["prompt"] for run in runs)
        return cls({(p["name"], p["version"]): PromptSource(**p) for p in prompts}, grammar)

    def of(self, row: Row) -> str:
        source = self.sources.get((row["prompt_name"], row["prompt_version"]))
        if source and not source.is_verbatim:
            return boilerplate_of(source)
        try:
            first = row["messages"][0]["content"] if row["messages"] else ""
            return text_boilerplate(first, self.grammar)
        except Fault:
            return ""


class Reevaluation(NamedTuple):
    """A change in how one row is evaluated; pairs hold the values before and after."""

    record_id: str
    generation_key: str
    status: tuple[str, str]
    stance: tuple[str, str]
    answers_question: tuple[str | None, str | None]
    missed: tuple[tuple[str, ...], tuple[str, ...]]  # checks not passed, at any level
    answer_changed: bool
    other_versions: tuple[str, ...]  # checks of the user's own that had other sources then


@dataclass(slots=True)
class Rechecked:
    """The number of rows evaluated again, and every verdict that changed.

    `other_versions` counts rows whose stored verdict came of another version of a check, `kept`
    those whose stored verdict stays, as the check asks for what the store does not hold.
    """

    rows: int = 0
    verdicts: list[Reevaluation] = field(default_factory=list)
    other_versions: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)

    def add(self, other: Self) -> None:
        self.rows += other.rows
        self.verdicts.extend(other.verdicts)
        self.other_versions.update(other.other_versions)
        self.kept.update(other.kept)


@dataclass(frozen=True, slots=True)
class StoredVerdicts:
    """A row's verdicts, for checks that ask for what the store does not hold.

    One stays if it came of the same version of its check, on the same answer; else the answer
    fails the check. `kept` collects the names of those that stay.
    """

    row: Row
    digests: Mapping[str, str]
    kept: set[str] = field(default_factory=set)

    def __call__(self, check: Check, subject: Subject, why: NotStored) -> Finding:
        row = self.row
        stored = [c for c in row["checks"] if c["name"] == check.name]
        same_answer = (subject.completion.text, subject.answer) == (
            row["completion"],
            row["answer"],
        )
        if not (stored and same_answer and self.digests.get(check.name) == check.digest):
            return not_known(check, subject, why)
        self.kept.add(check.name)
        return Finding(stored[0]["passed"], stored[0]["evidence"])


def recheck_rows(
    rows: pa.Table, evaluator: Evaluator, boilerplates: Boilerplates, runs: PastRuns
) -> tuple[pa.Table, Rechecked]:
    """Evaluates stored rows again; returns those that changed, as `OUTCOMES`, and the changes."""
    stored, done = rows.to_pylist(), Rechecked(rows.num_rows)
    today, evaluated, changed = digests_of(evaluator.checks), [], []
    for at, row in enumerate(stored):
        verdicts = StoredVerdicts(row, digests := runs.digests(row))
        prompt = stored_prompt(row, boilerplates.of(row), runs.columns(row))
        now = evaluator.best_of(prompt, list(_attempts(row, evaluator, prompt, verdicts)))
        other = tuple(n for n, digest in today.items() if digests.get(n, digest) != digest)
        done.kept.update(verdicts.kept)
        done.other_versions.update(other)
        if verdict := _verdict(row, now, other):
            done.verdicts.append(verdict)
            evaluated.append(now)
            changed.append(at)
    new = answers_table(evaluated, {})
    old = carry(rows.take(pa.array(changed, pa.int64())), OUTCOMES)
    columns = [(new if name in EVALUATED else old)[name] for name in OUTCOMES.names]
    return pa.table(columns, schema=OUTCOMES), done


def _attempts(
    row: Row, evaluator: Evaluator, prompt: Prompt, verdicts: StoredVerdicts
) -> Iterator[EvaluatedAttempt]:
    for attempt in row["attempts"]:
        if ENGINE_ERROR in attempt["failed_checks"]:
            causes = [c["evidence"] for c in row["checks"] if c["name"] == ENGINE_ERROR]
            why, generated_for = causes[0] if causes else "", attempt["generated_for"]
            evaluated = without_completion(why, generated_for)
        else:
            completion = stored_completion(row, attempt)
            evaluated = evaluator.evaluate(completion, prompt, verdicts)
        yield replace(evaluated, asked=attempt["asked"])


def _verdict(row: Row, now: Answered, other_versions: tuple[str, ...]) -> Reevaluation | None:
    """What has changed, or None if nothing has; evidence in other words is no change."""
    before = [(c["name"], c["passed"], c["level"]) for c in row["checks"]]
    known = {name for name, _, _ in before}
    # A label that an earlier release did not know and that finds nothing is no change.
    told = [c for c in now.checks if c.name in known or not c.passed or c.level == "fail"]
    after = [(c.name, c.passed, c.level) for c in told]
    unchanged = (
        before == after
        and row["status"] == now.status
        and row["stance"] == now.stance
        and row["answers_question"] == now.answers_question
        and row["p_answered"] == now.p_answered
        and row["answer"] == now.answer
        and row["fields"] == now.document
        and row["failed_checks"] == list(now.failed_checks)
    )
    if unchanged:
        return None
    missed = tuple(tuple(n for n, passed, _ in c if not passed) for c in (before, after))
    return Reevaluation(
        row["record_id"],
        row["generation_key"],
        (row["status"], now.status),
        (row["stance"], now.stance),
        (row["answers_question"], now.answers_question),
        (missed[0], missed[1]),
        row["answer"] != now.answer,
        other_versions,
    )
