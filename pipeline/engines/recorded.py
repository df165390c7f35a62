"""Replays the answer that each record came with, so that earlier work can be checked."""

from pipeline.model import Completion, Prompt


class RecordedEngine:
    """A record without an answer gets an empty completion; how one once ended is not known."""

    kind = "recorded"
    version = "1"

    def generate(self, prompt: Prompt) -> Completion:
        return Completion(prompt.record.recorded_answer or "", finish_reason=None)
