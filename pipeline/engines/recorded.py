"""Replays the answer that a record came with, so that earlier work can be checked."""

from pipeline.core.records import Completion
from pipeline.engines.engine import Request


class RecordedEngine:
    """Returns an empty completion for a record without an answer.

    Finish reasons and tokens are those that a batch's output gives; otherwise they are unknown.
    """

    kind = "recorded"
    version = "1"

    async def generate(self, request: Request) -> Completion:
        record = request.prompt.record
        text = record.recorded_answer or ""
        if (line := record.batch) is None:
            return Completion(text, finish_reason=None)
        tokens = line.prompt_tokens, line.cached_tokens, line.completion_tokens
        return Completion(text, line.finish_reason, *tokens, reasoning_tokens=line.reasoning_tokens)
