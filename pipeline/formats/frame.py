"""An answer in words between two markers, or with nothing around it.

    Answer:::
    at most N words
    Answer:::

Under enforced decoding a model may end its turn without the closing marker, and `closed` then adds
it. A model that does not know the marker would else go on to the word limit, when it has long said
what it had to say.
"""

import re
from dataclasses import dataclass, replace

from pipeline.core.records import ANSWER_MARKER, Completion, Level
from pipeline.core.text import quote
from pipeline.formats.base import Extracted, Fault, PromptWords, Regex
from pipeline.formats.end_tokens import without_end_tokens
from pipeline.formats.extract import extract_answer
from pipeline.formats.word_regex import words_regex


@dataclass(frozen=True, slots=True)
class Frame:
    """Markers, which may be the same, each on a line of its own."""

    begin: str = ANSWER_MARKER
    end: str = ANSWER_MARKER
    max_words: int = 399
    level: Level = "label"  # with free decoding, models keep a frame too rarely to fail for it

    @property
    def identity(self) -> list[str] | None:
        return None if self._is_default else [self.begin, self.end]

    @property
    def prompt_words(self) -> PromptWords:
        lines = f"two lines that each hold only the marker {self.begin}"
        if self.begin != self.end:
            lines = f"a line that holds only {self.begin} and a line that holds only {self.end}"
        between = f"Write the answer once, between {lines}"
        return PromptWords(self.max_words, between, self.begin, self.end)

    @property
    def constraint(self) -> Regex:
        words = words_regex(self.max_words, "" if self._is_default else self.end[0])
        return Regex(f"{re.escape(self.begin)}\n{words}({re.escape(self._closing)})?")

    def extract(self, content: str) -> Extracted:
        answer = None if self._is_default else self._between(without_end_tokens(content))
        answer = answer or extract_answer(content)
        return Extracted(answer, answer)

    def fault(self, content: str) -> Fault | None:
        why = self._fault(content)
        return Fault(why, self._ask) if why else None

    def closed(self, completion: Completion) -> Completion:
        """The completion with its frame closed, if the model has opened it and ended its turn."""
        content, split = completion.content, completion.split
        is_open = content.startswith(self.begin) and not content.endswith(self._closing)
        if completion.finish_reason != "stop" or not is_open:
            return completion
        split = split and split._replace(content=f"{content}{self._closing}")
        return replace(completion, text=f"{completion.text}{self._closing}", split=split)

    def written(self, answer: str) -> str:
        return f"{self.begin}\n{answer}{self._closing}"

    @property
    def _is_default(self) -> bool:
        return self.begin == self.end == ANSWER_MARKER

    @property
    def _closing(self) -> str:
        return f"\n{self.end}"

    @property
    def _ask(self) -> str:
        lines = f"two lines that hold {self.begin}"
        if self.begin != self.end:
            lines = f"a line that holds {self.begin} and one that holds {self.end}"
        return (
            f"Give your answer again between {lines} and nothing else, "
            "with no text before the first or after the second."
        )

    def _between(self, content: str) -> str | None:
        """What stands between the markers, or behind the first if it is alone; None without it."""
        _, found, behind = content.partition(self.begin)
        if not found:
            return None
        alone = re.search(rf"(?m)^[ \t]*{re.escape(self.end)}[ \t]*$", behind)
        inner = behind[: alone.start()] if alone else behind.partition(self.end)[0]
        return inner.strip()

    def _fault(self, content: str) -> str | None:
        before, *parts = self._parts(content)
        if not parts:
            return f"no {self.begin}"
        if before.strip():
            return f"text before the first {self.begin}: {quote(before)}"
        if len(parts) == 1:
            return f"no closing {self.end}"
        if len(parts) > 2:
            return f"{len(parts)} markers {self.begin}, not two"
        answer, after = parts
        if after.strip():
            return f"text after the closing {self.end}: {quote(after)}"
        return None if answer.strip() else "nothing between the markers"

    def _parts(self, content: str) -> list[str]:
        """The text before, between and behind the markers."""
        if self._is_default:
            return content.split(ANSWER_MARKER)
        before, found, behind = content.partition(self.begin)
        if not found:
            return [before]
        lines = re.split(rf"(?m)^[ \t]*{re.escape(self.end)}[ \t]*$", behind, maxsplit=1)
        return [before, *(lines if len(lines) == 2 else behind.split(self.end, 1))]


FRAME = Frame()
"""The format of a job that asks for none."""


@dataclass(frozen=True, slots=True)
class Unframed:
    """The whole completion is the answer."""

    max_words: int
    level: Level = "label"
    identity: str = "none"

    @property
    def prompt_words(self) -> PromptWords:
        return PromptWords(self.max_words, "Write the answer and nothing else")

    @property
    def constraint(self) -> Regex:
        return Regex(words_regex(self.max_words))

    def extract(self, content: str) -> Extracted:
        answer = without_end_tokens(content).strip()
        return Extracted(answer, answer)

    def fault(self, content: str) -> Fault | None:
        return None

    def closed(self, completion: Completion) -> Completion:
        return completion

    def written(self, answer: str) -> str:
        return answer
