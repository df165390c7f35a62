"""Judge templates: a file like a prompt template, whose message asks about the answer before it.

It may use what a store holds of an answer, so that a stored answer can be judged as a new one is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from pipeline.config.schema import JudgeConfig
from pipeline.core.errors import ConfigError
from pipeline.core.records import Fault
from pipeline.engines.token_budget import CHARACTERS_PER_TOKEN
from pipeline.formats.choice import Choice
from pipeline.prompting.template import PromptSource, load_source, render_parts

OF_ANSWER = ("record_id", "paper_id", "question_id", "question", "answer")
"""Columns of an answer that a judge template may use; `answer` is the one that was extracted."""

TURN_TOKENS = 8
"""About what chat templates write around a turn, and the verdict itself."""

FIELDS = (*OF_ANSWER, "choices", "answer_format")


@dataclass(frozen=True, slots=True)
class JudgeTemplate:
    """The user turn that asks for a verdict, which is one of `choices`."""

    source: PromptSource
    choices: tuple[str, ...]

    @classmethod
    def load(cls, judge: JudgeConfig) -> Self:
        """Raises `ConfigError` with file and line, as for a prompt template."""
        choices = tuple(judge.choices)
        words = Choice(choices).prompt_words
        source = load_source("judge.template", judge.template, words, FIELDS)
        if source.system:
            raise ConfigError(
                f"{judge.template}: front matter: a judge is asked within a conversation, which "
                "has its system message; leave system out"
            )
        template = cls(source, choices)
        try:
            template.turn(dict.fromkeys(OF_ANSWER, "text"))
        except Fault as fault:
            raise ConfigError(fault.detail) from fault
        return template

    @property
    def described(self) -> str:
        return f"{self.source.name}@{self.source.version}"

    @property
    def estimated_tokens(self) -> int:
        """Of a turn and its verdict, by the characters of the template."""
        characters = len(self.source.body) + sum(map(len, self.choices))
        return characters // CHARACTERS_PER_TOKEN + TURN_TOKENS

    def turn(self, answer: Mapping[str, Any]) -> str:
        """The words of the turn for an answer; raises `Fault` if it lacks a field that they use."""
        fields = {n: answer[n] for n in OF_ANSWER if answer[n] is not None}
        format_ = self.source.words.answer_format
        context = {**fields, "choices": self.choices, "answer_format": format_}
        (message,) = render_parts(self.source, context)
        return message.content
