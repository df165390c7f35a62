"""The questions of a wide table: what they are called, in which order they stand, and what the
records of a paper have in common.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, count

from pipeline.core.carried import as_json, columns_of
from pipeline.core.errors import ConfigError
from pipeline.core.text import natural
from pipeline.results.export.external_sort import Row
from pipeline.results.export.kinds import NULL, Kind, common, kind_of
from pipeline.results.export.xlsx import MAX_COLUMNS

NO_QUESTION = "(no question)"
"""Stands for the question of records that have neither its id nor its text."""

HEADER_CHARACTERS = 200


@dataclass(slots=True)
class Question:
    """A question in all papers: its text, or the first in order of several, the first place in the
    input that asks it, and the most records that one paper has of it.
    """

    question_id: str | None
    text: str | None
    place: tuple[str, int]
    max_records: int = 0
    varies: bool = False

    def add(self, text: str | None, place: tuple[str, int]) -> None:
        self.place = min(self.place, place)
        if text is not None and text != self.text:
            self.varies = self.text is not None
            self.text = min(text, self.text or text)

    def described(self) -> dict[str, str]:
        return {
            "question_id": self.question_id or "",
            "question": self.text or "",
            "wording": "several" if self.varies else "one",
        }


@dataclass(slots=True)
class Survey:
    """What the rows of a wide table hold: its papers, its questions by name, and its carried
    columns with their kinds, of which those in `varying` have several values in some paper.
    """

    most_groups: int
    papers: int = 0
    groups: int = 0
    questions: dict[str, Question] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)
    varying: set[str] = field(default_factory=set)

    def add_paper(self, records: Iterable[Row]) -> None:
        self.papers += 1
        seen: Counter[str] = Counter()
        values: dict[str, str] = {}
        for _, _, name, question_id, text, uri, row, extra in records:
            place = (uri or "", row or 0)
            question = self.questions.setdefault(name, Question(question_id, text, place))
            question.add(text, place)
            seen[name] += 1
            if seen[name] > question.max_records:
                question.max_records += 1
                self.groups += 1
                if self.groups > self.most_groups:
                    self.check_width(MAX_COLUMNS + 1)
            if extra:
                self._add_columns(extra, values)

    def _add_columns(self, extra: str, values: dict[str, str]) -> None:
        """Columns of a record of the paper that has `values` so far."""
        for name, value in columns_of(extra).items():
            self.kinds[name] = common(self.kinds.get(name, NULL), kind_of(value))
            written = as_json(value)
            if value is not None and values.setdefault(name, written) != written:
                self.varying.add(name)

    def check_width(self, columns: int) -> None:
        if columns > MAX_COLUMNS:
            raise ConfigError(
                f"--wide: more than {self.most_groups:,} questions need more columns than a table "
                "can have; give records a question_id that papers share, or export without --wide"
            )


def headers(questions: Mapping[str, Question]) -> Iterator[tuple[str, str]]:
    """Names of questions, each with the header of one of its groups, in column order.

    Headers are unique. If a paper has a second record of `Q1` and another question is itself named
    `Q1 (2)`, that question keeps its name.
    """
    taken: set[str] = set()
    names = _in_order(questions)
    first = {name: unused(_header(name), taken) for name in names}
    for name in names:
        yield name, first[name]
        for nth in range(2, questions[name].max_records + 1):
            yield name, unused(f"{first[name]} ({nth})", taken)


def _in_order(questions: Mapping[str, Question]) -> list[str]:
    """Numbered questions by their numbers, Q2 before Q10; others as the input first has them."""
    with_name = [name for name in questions if name != NO_QUESTION]
    ids = (questions[name].question_id for name in with_name)
    if all(id_ and any(map(str.isdigit, id_)) for id_ in ids):
        ordered = sorted(with_name, key=natural)
    else:
        ordered = sorted(with_name, key=lambda name: (questions[name].place, natural(name)))
    return [*ordered, *(name for name in questions if name == NO_QUESTION)]


def unused(header: str, taken: set[str]) -> str:
    """The header, numbered if it is taken, which it is from now on."""
    candidates = chain([header], (f"{header} ({n})" for n in count(2)))
    free = next(candidate for candidate in candidates if candidate not in taken)
    taken.add(free)
    return free


def _header(name: str) -> str:
    return name if len(name) <= HEADER_CHARACTERS else name[: HEADER_CHARACTERS - 1] + "…"
