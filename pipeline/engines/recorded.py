"""Replays the answer that each record came with, so that earlier work can be checked."""

from pipeline.core.records import Completion
from pipeline.engines.engine import Request


class RecordedEngine:
    """A record without an answer gets an empty completion; how one once ended is not known."""

    kind = "recorded"
    version = "1"

    async def generate(self, request: Request) -> Completion:
        return Completion(request.prompt.record.recorded_answer or "", finish_reason=None)
