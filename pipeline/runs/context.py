"""The context that a job's prompts and answers need, told from the prompts that a plan has read."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pipeline.config.schema import Job
from pipeline.core.records import Prompt
from pipeline.engines.model_files import ModelSpec, context_tokens
from pipeline.engines.token_budget import completion_limit
from pipeline.engines.tokenizer import shared_encoder
from pipeline.prompting.cache_estimate import CacheEstimate
from pipeline.runs.plan import WorkPlan

STEP = 1024
"""A context is proposed in whole multiples of this many tokens."""

MARGIN = 16
"""A prompt that was not counted may have this part more than the longest that was."""


@dataclass(frozen=True, slots=True)
class ContextEstimate:
    """Tokens: of the context, which the job may have set; of the longest prompt of those counted;
    and of a smaller context that would do as well, if there is one.
    """

    context: int
    is_set: bool
    counted: int
    longest_prompt: int
    would_do: int | None = None

    def __str__(self) -> str:
        longest = f"longest prompt {self.longest_prompt:,} tokens (of {self.counted:,} counted)"
        has = f"{self.context} is set" if self.is_set else f"the model has {self.context}"
        if self.would_do is None:
            return f"{longest}; of the context, {has}"
        return f"{longest}; engine.options.max_model_len: {self.would_do} would do ({has})"


def estimate_context(
    job: Job, plan: WorkPlan, cache: CacheEstimate | None
) -> ContextEstimate | None:
    """For a job of kind vllm that has work.

    Tokens are counted of the sample and of the longest of all prompts by its characters. One that
    was not counted may have some more of them, for which there is a margin.
    """
    if plan.longest is None:
        return None
    model = ModelSpec.of(job)
    longest = len(shared_encoder(model).encode(plan.longest.messages))
    if cache:
        longest = max(longest, cache.longest_prompt)
    counted = len({p.record.record_id for p in (*plan.sample, plan.longest)})
    now = ContextEstimate(context_tokens(model), bool(model.context), counted, longest)
    limit = completion_limit(job)
    if limit is None or plan.totals.reasons["too_long"]:
        return now  # a thought, or a prompt, may need all there is
    limit = max(limit, *_own_limits((*plan.sample, plan.longest)))
    margin = 0 if counted == plan.totals.standings["work"] else longest // MARGIN
    needed = -(-(longest + margin + limit) // STEP) * STEP
    return now if needed >= now.context else replace(now, would_do=needed)


def _own_limits(prompts: Iterable[Prompt]) -> list[int]:
    """The token limits that records' own lines set, none for most."""
    lines = (prompt.record.batch for prompt in prompts)
    return [0, *(int(line.sampling.get("max_tokens") or 0) for line in lines if line)]
