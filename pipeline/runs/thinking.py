"""Whether a model that thinks has room to, by the job's own limits."""

from pipeline.config.schema import Job
from pipeline.engines.reasoning_parsers import check_reasoning, reasoning_of
from pipeline.engines.token_budget import answer_tokens

LEAST_THOUGHT_TOKENS = 1024
"""Models that think take some hundred to some thousand tokens before a short answer."""


def described_thinking(job: Job) -> str:
    """How completions are split, and a warning where the limits leave a thought no room.

    Raises `ConfigError` for what a parser, or the want of one, rules out.
    """
    check_reasoning(job)
    reasoning = reasoning_of(job)
    said = f"reasoning: {reasoning}"
    most, answer = job.sampling.max_tokens, answer_tokens(job)
    if not reasoning.thinks or most is None:
        return said
    wanted, left = job.sampling.thinking_token_budget, most - answer
    if left >= (LEAST_THOUGHT_TOKENS if wanted is None else wanted):
        return said
    return (
        f"{said}, but sampling.max_tokens ({most:,}) leaves {left:,} tokens for its thoughts "
        f"beside an answer of {answer:,}: raise it, or turn thinking off with "
        "engine.chat_template_kwargs (enable_thinking: false for most models)"
    )
