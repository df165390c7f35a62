"""Splits completions with vLLM's own reasoning parsers. Importing this imports vLLM."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

from vllm.reasoning import ReasoningParserManager

from pipeline.core.errors import ConfigError, describe
from pipeline.core.records import Message, Split
from pipeline.engines.reasoning_parsers import HARMONY
from pipeline.engines.tokenizer import PromptEncoder
from pipeline.engines.vllm_requests import Generated

FINAL, MESSAGE, ENDS = "<|channel|>final", "<|message|>", ("<|end|>", "<|return|>", "<|call|>")
"""Of harmony: the channel of the answer, and the tokens around the text of each channel."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a chat template writes in front of a completion: it may open a thought, or close one.

    `thinks` tells whether a thought is expected behind it.
    """

    text: str = ""
    tokens: Sequence[int] = ()
    thinks: bool = False


class Parts(NamedTuple):
    """A completion in two; without a split of the parser it is left to the rules for texts."""

    split: Split | None = None
    reasoning_tokens: int = 0
    first_of_answer: int = 0  # its first token


class Reasoner:
    """A model's parser, if it has one; for one thread at a time.

    Raises `ConfigError` if the parser does not fit the model's tokenizer.
    """

    def __init__(
        self, parser: str | None, encoder: PromptEncoder, arguments: Mapping[str, Any]
    ) -> None:
        self._encoder = encoder
        self._arguments = dict(arguments)
        self._is_harmony = parser == HARMONY
        self._parser = _parser(parser, encoder.tokenizer, arguments) if parser else None
        self._opening: Opening | None = None
        self.keeps_special_tokens = self._is_harmony or _keeps_special_tokens(self._parser)

    def arguments(self, opening: Opening) -> dict[str, Any]:
        """What vLLM has to know to begin a grammar where the thought ends.

        It would look for the end of a thought in the whole prompt, where a passage may have one.
        """
        if self._parser is None:
            return {}
        arguments = {"chat_template_kwargs": self._arguments}
        return {"reasoning_ended": not opening.thinks, "reasoning_parser_kwargs": arguments}

    def opening(self, messages: Sequence[Message]) -> Opening:
        """The same for all chats of a model; a plain prompt has none, and no thought behind it."""
        if self._parser is None or not self._encoder.formats(messages):
            return Opening()
        if self._opening is None:
            text = self._encoder.opening(messages)
            tokens = self._encoder.tokenizer.encode(text, add_special_tokens=False)
            thinks = self._is_harmony or not self._parser.is_reasoning_end(tokens)
            self._opening = Opening(text, tokens, thinks)
        return self._opening

    def skipped_thought(self, opening: Opening) -> str:
        """What a model reads in place of the thought that it would begin behind an opening."""
        if self._parser is None or not opening.thinks:
            return ""
        if self._is_harmony:
            return FINAL + MESSAGE
        start, end = self._parser.reasoning_start_str, self._parser.reasoning_end_str
        begun = "" if not start or start in opening.text else start
        return f"{begun}\n\n{end}\n\n" if end else ""

    def parts(self, generated: Generated, opening: Opening) -> Parts:
        """Splits a completion, and counts the tokens of the thought without the tags around it."""
        if self._parser is None:
            return Parts()
        if self._is_harmony:
            return _of_channels(generated, self._parser.vocab)
        split = _split(self._parser, generated.text, opening)
        if split is None or not split.reasoning:
            return Parts(split)
        every, start = generated.tokens, self._parser.reasoning_start_str
        opened = self._encoded(start) if start and start in opening.text else []
        counted = self._parser.count_reasoning_tokens([*opened, *every])
        answer = self._parser.extract_content_ids(every) if split.content else []
        if split.content and len(answer) in (0, len(every)):  # the parser does not find it
            answer = self._encoded(split.content)
        thought = counted or len(self._encoded(split.reasoning))
        return Parts(split, thought, max(len(every) - len(answer), 0))

    def _encoded(self, text: str) -> list[int]:
        return list(self._encoder.tokenizer.encode(text, add_special_tokens=False))


def _split(parser: Any, text: str, opening: Opening) -> Split | None:
    """The parser's split; None where it finds no thought, or one that nothing opens or closes.

    Parsers of models that always think take such an answer for a thought.
    """
    start, end = parser.reasoning_start_str, parser.reasoning_end_str
    is_closed = bool(end and end in text)
    is_opened = not start or start in text or start in opening.text
    reasoning, content = parser.extract_reasoning(text, SimpleNamespace())
    if content is not None and reasoning is None and not is_closed:
        return None
    thought = (reasoning or "").removeprefix(start or "").strip()
    if content or is_closed:
        return Split(thought, content or "")
    return Split(thought, "", is_closed=False) if thought and is_opened else None


def _of_channels(generated: Generated, vocabulary: Mapping[str, int]) -> Parts:
    """The counts of a completion in harmony, whose split is left to the rules for texts."""
    tokens, ends = generated.tokens, {vocabulary.get(token) for token in ENDS}
    texts = [at + 1 for at, token in enumerate(tokens) if token == vocabulary.get(MESSAGE)]
    answer = texts.pop() if FINAL in generated.text and texts else len(tokens)
    lengths = (
        next((n for n, token in enumerate(tokens[at:answer]) if token in ends), answer - at)
        for at in texts
    )
    return Parts(None, sum(lengths), answer)


def _keeps_special_tokens(parser: Any) -> bool:
    """Whether a parser needs the special tokens of a completion in its text."""
    request = SimpleNamespace(skip_special_tokens=True, structured_outputs=None, tools=None)
    return parser is not None and not parser.adjust_request(request).skip_special_tokens


def _parser(name: str, tokenizer: Any, arguments: Mapping[str, Any]) -> Any:
    try:
        parser = ReasoningParserManager.get_reasoning_parser(name)
        return parser(tokenizer, chat_template_kwargs=dict(arguments))
    except Exception as error:  # each parser looks for tokens of its own
        raise ConfigError(
            f"engine.reasoning: {name} does not fit the model: {describe(error)}; off leaves "
            "completions whole"
        ) from error
