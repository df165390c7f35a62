"""What people say beside what the machine says: columns `human_<field>`, where there are any.

They join the rows of an export as one more column of JSON, whose entries are spread as those of
`extra` and `fields` are.
"""

from collections.abc import Iterable, Mapping, Sequence

import orjson
import pyarrow as pa

from pipeline.results.corrections.standing import AnswerKey, Standing, consensus
from pipeline.store.corrections import OF_CHECK
from pipeline.store.reader import BY_GENERATION

HUMAN = "human_"
PEOPLE = "people"
"""The joined column. It is no column of the store."""

SaidOfAnswers = Mapping[AnswerKey, Mapping[str, str]]
"""What people say of each answer, by column."""


def said_by_people(people: Standing) -> SaidOfAnswers:
    """What counts, by answer and column; of several people's, what most of them say."""
    return {
        key: {HUMAN + field: consensus(said) for field, said in fields.items()}
        for key, fields in people.counting.items()
    }


def with_people(rows: pa.Table, said: SaidOfAnswers) -> pa.Table:
    """Rows with `BY_GENERATION`, and what people say of each as JSON in the column `people`."""
    if not said:
        return rows
    keys = zip(*(rows[name].to_pylist() for name in BY_GENERATION), strict=True)
    cells = [orjson.dumps(said[key]).decode() if key in said else None for key in keys]
    return rows.append_column(PEOPLE, pa.array(cells, pa.string()))


def side_by_side(columns: Sequence[str], human: Iterable[str]) -> list[str]:
    """The columns, each followed by what people say of it; of checks, behind `checks`."""
    behind: dict[str, list[str]] = {}
    for name in sorted(human):
        field = name.removeprefix(HUMAN)
        behind.setdefault("checks" if field.startswith(OF_CHECK) else field, []).append(name)
    return [each for name in columns for each in (name, *behind.get(name, ()))]
