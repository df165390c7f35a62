"""An answer that is one of a few choices."""

import re
from dataclasses import dataclass
from functools import cached_property

from pipeline.config.choices import form_of
from pipeline.core.records import Completion, Level
from pipeline.core.text import quote
from pipeline.formats.base import Extracted, Fault, PromptWords, Regex
from pipeline.formats.end_tokens import without_end_tokens
from pipeline.formats.extract import extract_answer


@dataclass(frozen=True)
class Choice:
    """One of `choices`, in their own spelling; case and signs around it do not matter."""

    choices: tuple[str, ...]
    level: Level = "fail"  # what is no choice is no answer

    @property
    def identity(self) -> list[str]:
        return list(self.choices)

    @property
    def prompt_words(self) -> PromptWords:
        return PromptWords(0, f"Answer with exactly one of these, and nothing else: {self._listed}")

    @property
    def constraint(self) -> Regex:
        return Regex("|".join(map(re.escape, self.choices)))

    def extract(self, content: str) -> Extracted:
        return Extracted(self._chosen(content) or extract_answer(content), None)

    def fault(self, content: str) -> Fault | None:
        if self._chosen(content):
            return None
        text = extract_answer(content)
        why = f"no choice: {quote(text)}" if text else "no choice"
        return Fault(why, f"Answer with exactly one of these, and nothing else: {self._listed}.")

    def closed(self, completion: Completion) -> Completion:
        return completion

    def written(self, answer: str) -> str:
        """The first choice that an answer names; the last one, for one that names none."""
        named = (c for c in self.choices if re.search(rf"(?i)\b{re.escape(c)}\b", answer))
        return next(named, self.choices[-1])

    def _chosen(self, content: str) -> str | None:
        """The choice that an answer is, or that it begins with and then explains."""
        for text in (without_end_tokens(content), extract_answer(content)):
            begun = self._beginning.match(text)
            chosen = self._by_form.get(form_of(text))
            chosen = chosen or (self._by_form.get(form_of(begun[1])) if begun else None)
            if chosen:
                return chosen
        return None

    @cached_property
    def _by_form(self) -> dict[str, str]:
        return {form_of(choice): choice for choice in self.choices}

    @cached_property
    def _beginning(self) -> "re.Pattern[str]":
        """ "No information" does not begin with the choice "no"; "No, …" and "No." do."""
        choices = "|".join(map(re.escape, sorted(self.choices, key=len, reverse=True)))
        signs, stop = r"[\"'”’`*_)\]]*", r"(?:\s*[.,;:!\n—–]|\s+-\s)"
        return re.compile(rf"(?i)[\W_]*?({choices}){signs}{stop}")

    @property
    def _listed(self) -> str:
        return " | ".join(self.choices)
