"""What requests of a replica can cost, reserved before they go out; and what they have cost."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeAlias

from pipeline.answering.judge import Judge
from pipeline.answering.stop_signal import StopSignal
from pipeline.cluster.counters import EngineCounts
from pipeline.cluster.reporter import HEARTBEAT_SECONDS, Reporter
from pipeline.config.schema import Job
from pipeline.core.records import Answered, JudgeCounts, Message
from pipeline.engines.token_budget import answer_tokens, completion_limit, estimated_tokens

UNLIMITED_TOKENS = 8192
"""What a completion is taken to have at most, beside its answer, where only the context limits it:
a long thought."""

VERDICT_TOKENS = 16

Add: TypeAlias = Callable[[EngineCounts], object]
"""Adds to the counts of a replica."""


class Reservations:
    """Reserves with the coordinator before a batch begins; without a budget it asks nobody.

    The counts of the replica say what is reserved and what is settled.
    """

    def __init__(
        self,
        job: Job,
        judge: Judge | None,
        reporter: Reporter,
        stop: StopSignal,
        counts: Callable[[], EngineCounts],
        add: Add,
    ) -> None:
        self._price, self._has_price = job.report.price, job.report.price.is_given
        self._is_limited = job.budget is not None
        limit = completion_limit(job)
        self._completion = answer_tokens(job) + UNLIMITED_TOKENS if limit is None else limit
        self._turn = judge.template.estimated_tokens if judge else 0
        self._reporter = reporter
        self._stop = stop
        self._counts = counts
        self._add = add
        self._one_at_a_time = asyncio.Lock()

    async def granted(self, amounts: Sequence[float]) -> int:
        """How many of these prompts may begin, in their order, once there is money or none is left:
        0 if the budget is spent, or if the run is to end for another reason.
        """
        async with self._one_at_a_time:
            while await self._stop.may_begin():
                granted = await self._ask(amounts)
                if granted is not None:
                    return granted
                await asyncio.sleep(HEARTBEAT_SECONDS)
        return 0

    async def _ask(self, amounts: Sequence[float]) -> int | None:
        if not self._is_limited:
            return len(amounts)
        granted = await self._reporter.reserve(self._counts(), amounts)
        if granted:
            reserved = sum(amounts[:granted])
            self._add(EngineCounts(reserved_prompts=granted, reserved=reserved))
        return granted

    def most(self, messages: Sequence[Message], own_limit: int | None = None) -> float:
        """The most that one attempt at a prompt and the verdict on it cost, by the prompt's length;
        0 without a budget, which asks for none of it.

        `own_limit` is the record's own of tokens.
        """
        if not self._is_limited:
            return 0.0
        prompt = estimated_tokens(messages)
        completion = own_limit or self._completion
        again = prompt + completion + self._turn if self._turn else 0
        return self._cost(prompt, 0, completion) + self.most_of_verdict(again)

    def most_of_verdict(self, tokens: int) -> float:
        """The most that a verdict costs, which reads a conversation of so many tokens; 0 for 0."""
        return self._cost(tokens, 0, VERDICT_TOKENS) if tokens else 0.0

    def settle(self, answers: Sequence[Answered], reserved: float) -> None:
        """Counts what answers that share a prompt have cost."""
        if not self._has_price:
            return
        tokens = EngineCounts.sum(map(EngineCounts.of, answers))
        cost = self._cost(tokens.prompt_tokens, tokens.cached_tokens, tokens.completion_tokens)
        judging = sum(self._of_verdict(answer.judging) for answer in answers)
        self._settle(reserved, EngineCounts(token_cost=cost, judge_cost=judging))

    def settle_verdict(self, judging: JudgeCounts, reserved: float) -> None:
        """Counts what a verdict on a stored answer has cost."""
        self._settle(reserved, EngineCounts(judge_cost=self._of_verdict(judging)))

    def _settle(self, reserved: float, costs: EngineCounts) -> None:
        is_limited = self._is_limited
        self._add(costs._replace(settled_prompts=int(is_limited), settled=reserved * is_limited))

    def _of_verdict(self, judging: JudgeCounts) -> float:
        return self._cost(
            judging.judge_prompt_tokens,
            judging.judge_cached_tokens,
            judging.judge_completion_tokens,
        )

    def _cost(self, prompt: int, cached: int, completion: int) -> float:
        return self._price.of_tokens(prompt, cached, completion) or 0.0
