"""A judge: a model's verdict on an answer, asked as the next turn of the same conversation.

The conversation is the prompt, the answer as the assistant's turn without its thought, and the
judge's question. So the prefix cache holds all but the question, and a verdict costs a few tokens.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import orjson
import pyarrow as pa

from pipeline.config.schema import Job
from pipeline.core.errors import EngineError
from pipeline.core.records import (
    Answered,
    Completion,
    Fault,
    JudgeCounts,
    Judgement,
    Prompt,
)
from pipeline.engines import judging_identity, model_of
from pipeline.engines.engine import Engine, GenerationError, Request
from pipeline.formats.choice import Choice
from pipeline.prompting.judge_template import OF_ANSWER, JudgeTemplate
from pipeline.prompting.keys import canonical, digest
from pipeline.store.ledger import RowTest

COLUMNS = (*OF_ANSWER, "generation_key", "answers_question", "judgements")
"""Columns by which a stored answer is known to lack a judgement."""


class Reply(NamedTuple):
    """A judgement, or None where the model gave none; and what asking for it took."""

    judgement: Judgement | None
    counts: JudgeCounts


@dataclass(frozen=True, slots=True)
class Judge:
    """Asks for verdicts with one template; the same judge gives an answer the same key each time.

    `identity` is what a verdict depends on besides the conversation.
    """

    template: JudgeTemplate
    rater: str
    identity: Mapping[str, Any]
    only_unsure: bool = False

    @classmethod
    def of(cls, job: Job) -> Self | None:
        """The job's judge, if it has one; raises `ConfigError` for a template that cannot work."""
        if job.judge is None:
            return None
        template = JudgeTemplate.load(job.judge)
        return cls(
            template,
            f"judge:{template.described}:{_named_model(job)}",
            judging_identity(job),
            job.judge.when == "unsure",
        )

    def described(self) -> dict[str, Any]:
        """Rater, template and choices, for the run file."""
        source, choices = self.template.source, list(self.template.choices)
        return {"rater": self.rater, **source.described(), "choices": choices}

    def wants(self, answer: Mapping[str, Any]) -> bool:
        """Whether an answer is to be judged: one with a text, and unsure if the job says so."""
        is_unsure = answer["answers_question"] == "unsure"
        return bool(answer["answer"]) and (is_unsure or not self.only_unsure)

    def key(self, answer: Mapping[str, Any]) -> str:
        """Of a judgement on an answer: 32 hex digits, a hash of all that the verdict depends on.

        The generation key stands for the prompt's messages. Raises `Fault` as the template does.
        """
        return self._key(answer, self.template.turn(answer))

    def lacking(self, rows: pa.Table) -> list[bool]:
        """Which stored answers are to be judged and lack this judgement; reads `COLUMNS`."""
        known = [{j["key"] for j in row or ()} for row in rows["judgements"].to_pylist()]
        answers = rows.select([n for n in COLUMNS if n != "judgements"]).to_pylist()
        return [self._lacks(answer, keys) for answer, keys in zip(answers, known, strict=True)]

    @property
    def unjudged(self) -> RowTest:
        """Which stored answers lack this judgement, for the ledger."""
        return RowTest(COLUMNS, self.lacking)

    def _lacks(self, answer: Mapping[str, Any], keys: set[str]) -> bool:
        try:
            return self.wants(answer) and self.key(answer) not in keys
        except Fault:  # the template uses a field that this answer lacks
            return False

    async def judged(self, answered: Answered, engine: Engine) -> Answered:
        """The answer with its judgement, if it is to have one.

        Whatever fails, and if the run ends meanwhile, the answer goes on without: the next run
        asks again.
        """
        answer = columns_of(answered)
        if not self.wants(answer):
            return answered
        try:
            reply = await self.ask(answered.prompt, answered.completion, answer, engine)
        except (EngineError, asyncio.CancelledError):
            reply = Reply(None, JudgeCounts(unjudged=1))
        judgements = (reply.judgement,) if reply.judgement else ()
        return replace(answered, judgements=judgements, judging=reply.counts)

    async def ask(
        self, prompt: Prompt, completion: Completion, answer: Mapping[str, Any], engine: Engine
    ) -> Reply:
        """Asks for a verdict on an answer; raises `EngineError` if the engine answers nobody."""
        try:
            turn = self.template.turn(answer)
            request = Request.judging(prompt, completion, turn, self.template.choices)
            said = await engine.generate(request)
        except (Fault, GenerationError):
            return Reply(None, JudgeCounts(unjudged=1))
        tokens = said.prompt_tokens, said.cached_tokens, said.completion_tokens
        if said.generated_for is not None:  # where they count
            tokens = 0, 0, 0
        format_ = Choice(self.template.choices)
        if format_.fault(said.content):
            return Reply(None, JudgeCounts(0, 1, *tokens))
        value, shares = format_.extract(said.content).answer, said.probabilities
        judgement = Judgement(
            self.rater,
            value,
            shares[value] if shares else None,
            orjson.dumps(shares).decode() if shares else None,
            self._key(answer, turn),
        )
        return Reply(judgement, JudgeCounts(1, 0, *tokens))

    def _key(self, answer: Mapping[str, Any], turn: str) -> str:
        of_answer = {name: answer[name] for name in ("generation_key", "answer")}
        return digest(canonical({**self.identity, **of_answer, "turn": turn}))


def columns_of(answered: Answered) -> dict[str, Any]:
    """What a judge reads of a new answer, under the names of the store's columns."""
    record = answered.prompt.record
    return {
        **{name: getattr(record, name) for name in OF_ANSWER if name != "answer"},
        "answer": answered.answer,
        "generation_key": answered.prompt.generation_key,
        "answers_question": answered.answers_question,
    }


def _named_model(job: Job) -> str:
    """Model, revision and adapter in one text."""
    model, revision = model_of(job)
    adapter = job.engine.adapter
    return model + (f"@{revision}" if revision else "") + (f"+{adapter}" if adapter else "")
