"""Replays the answer that a record came with, so that earlier work can be checked."""

from pipeline.core.records import Completion
from pipeline.engines.engine import Request


class RecordedEngine:
    """Returns an empty completion for a record without an answer; finish reasons are unknown."""

    kind = "recorded"
    version = "1"

    async def generate(self, request: Request) -> Completion:
        return Completion(request.prompt.record.recorded_answer or "", finish_reason=None)
