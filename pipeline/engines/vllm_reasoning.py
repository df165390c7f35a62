"""Splits completions with vLLM's own reasoning parsers. Importing this imports vLLM."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from vllm.reasoning import ReasoningParserManager

from pipeline.core.errors import ConfigError, describe
from pipeline.core.records import Split


@dataclass(frozen=True, slots=True)
class Opening:
    """What a chat template writes in front of an answer; it may open a thought, or close one."""

    text: str
    tokens: Sequence[int]


class ReasoningSplitter:
    """A parser of vLLM for one model; for one thread at a time.

    Raises `ConfigError` if the parser does not fit the model's tokenizer.
    """

    def __init__(self, name: str, tokenizer: Any, arguments: Mapping[str, Any]) -> None:
        self._tokenizer = tokenizer
        try:
            parser = ReasoningParserManager.get_reasoning_parser(name)
            self._parser = parser(tokenizer, chat_template_kwargs=dict(arguments))
        except Exception as error:  # each parser looks for tokens of its own
            raise ConfigError(
                f"engine.reasoning: {name} does not fit the model: {describe(error)}; "
                "off leaves completions whole"
            ) from error

    @property
    def keeps_special_tokens(self) -> bool:
        """Whether the parser has to see the special tokens of a completion's text."""
        request = SimpleNamespace(skip_special_tokens=True, structured_outputs=None, tools=None)
        return not self._parser.adjust_request(request).skip_special_tokens

    def has_ended(self, opening: Opening) -> bool:
        """Whether an answer follows at once, so that a grammar begins at the first token."""
        return bool(self._parser.is_reasoning_end(list(opening.tokens)))

    def split(self, text: str, opening: Opening) -> Split:
        """A thought that nothing opens or closes, neither in the prompt nor in the text, is none:
        parsers of models that always think take such an answer for a thought.
        """
        start, end = self._parser.reasoning_start_str, self._parser.reasoning_end_str
        reasoning, content = self._parser.extract_reasoning(text, SimpleNamespace())
        if not reasoning:
            return Split("", content or "") if content or (end and end in text) else Split("", text)
        if content is not None or (end and end in text):
            return Split(reasoning.strip(), content or "")
        if start and start not in text and start not in opening.text:
            return Split("", text)
        return Split(reasoning.strip(), "", is_closed=False)

    def count(self, split: Split, tokens: Sequence[int], opening: Opening) -> int:
        """Tokens of the thought, without the tags around it."""
        if not split.reasoning:
            return 0
        counted = int(self._parser.count_reasoning_tokens([*opening.tokens, *tokens]))
        return counted or len(self._tokenizer.encode(split.reasoning, add_special_tokens=False))
