"""What other models' answers to the same question say about an answer, where a store holds several.

An answer of which the others say much the same is seldom judged wrongly: the verdict with them is
right more often than that on the answer alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline.answering.answers_question import Estimate, estimate_with_others
from pipeline.core.filesystem import Location
from pipeline.results.export.columns import Added
from pipeline.store.reader import read_rows

NEEDED = ("record_id", "question", "model", "answers_question", "p_answered")
VERDICT, PROBABILITY = "answers_question_with_others", "p_answered_with_others"


class Said(NamedTuple):
    """A model's newest answer to a question: the probability that it gives what is asked for."""

    written_at: datetime
    probability: float


Question = tuple[str, str | None]
"""A record's id and its question: an id alone may have come to stand for another question."""


@dataclass(frozen=True, slots=True)
class OtherModels:
    """The newest `p_answered` of each model, by question."""

    answers: Mapping[Question, Mapping[str, Said]]

    @property
    def added(self) -> dict[str, Added]:
        """The verdicts with other models, as columns of an export."""
        return {
            VERDICT: Added(pa.string(), NEEDED, self._verdicts),
            PROBABILITY: Added(pa.float32(), NEEDED, self._probabilities),
        }

    def estimate(self, row: Mapping[str, Any]) -> Estimate | None:
        """The verdict on a row with the columns `NEEDED`; None where there is none without the
        others either.
        """
        if row["p_answered"] is None:
            return None
        beside = self.answers.get((row["record_id"], row["question"]), {})
        others = [said.probability for model, said in beside.items() if model != row["model"]]
        return estimate_with_others(row["p_answered"], others)

    def _verdicts(self, rows: pa.Table) -> pa.Array:
        return pa.array([j and j.verdict for j in self._estimate(rows)], pa.string())

    def _probabilities(self, rows: pa.Table) -> pa.Array:
        return pa.array([j and j.probability for j in self._estimate(rows)], pa.float32())

    def _estimate(self, rows: pa.Table) -> list[Estimate | None]:
        return [self.estimate(row) for row in rows.select(NEEDED).to_pylist()]


def other_models(store: Location) -> OtherModels | None:
    """The judged answers of all models of a store; None if it holds those of fewer than two.

    They are kept in memory, some 200 bytes each.
    """
    models: set[str] = set()
    for rows in read_rows(store, columns=["model", "p_answered"]):
        models.update(rows.filter(rows["p_answered"].is_valid())["model"].unique().to_pylist())
    if len(models) < 2:
        return None
    answers: dict[Question, dict[str, Said]] = {}
    for rows in read_rows(store, columns=[*NEEDED, "written_at"]):
        for row in rows.to_pylist():
            if row["p_answered"] is None:
                continue
            said = Said(row["written_at"], row["p_answered"])
            of_question = answers.setdefault((row["record_id"], row["question"]), {})
            of_question[row["model"]] = max(of_question.get(row["model"], said), said)
    return OtherModels(answers)
