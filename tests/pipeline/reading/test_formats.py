"""The same rows in every format are the same records, and get the same keys and answers."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.jobs import counts, job, run, stored
from tests.support.shards import read_path
from tests.support.tables import FORMATS

FIELDS = {"paper_id": "doi", "question": "query", "passages": "result.contexts"}
SAME = ("record_id", "paper_id", "question_id", "question", "passages", "recorded_answer")

texts = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('\n\t",;[]{}\\'), min_size=1
).filter(lambda text: text.strip() and text[0] not in "[ \t\n" and "\r" not in text)
words = st.from_regex(r"[A-Z][a-z]{3,9}( [a-z]{2,9}){1,4}", fullmatch=True)
text_passages = st.lists(texts, min_size=1, max_size=3)
objects = st.fixed_dictionaries({"text": texts, "source": st.none() | words})


@st.composite
def tables(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows as of a user: names and objects of their own, with columns of one type each."""
    of_passages = draw(st.sampled_from([text_passages, st.lists(objects, min_size=1)]))
    rows = st.fixed_dictionaries(
        {
            "id": st.integers(0, 10**6).map("{:07d}".format),
            "doi": st.from_regex(r"10\.[0-9]{4}/[a-z0-9.]{2,8}", fullmatch=True),
            "query": texts,
            "result": st.fixed_dictionaries(
                {"contexts": of_passages, "model": words, "score": st.integers(0, 999)}
            ),
            "answer": words,
            "year": st.none() | st.integers(1900, 2030),
            "weight": st.decimals("0.01", "99", places=2).map(float).map(lambda f: f + 0.5),
            "open": st.booleans(),
            "zip": st.from_regex(r"0[0-9]{4}", fullmatch=True),
            "note": st.none() | words,
        }
    )  # fmt: skip
    return draw(st.lists(rows, min_size=1, max_size=4, unique_by=lambda row: row["id"]))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("formats")


@settings(max_examples=60, deadline=None)
@given(tables())
def test_rows_are_the_same_records_in_every_format(
    scratch: Path, rows: list[dict[str, Any]]
) -> None:
    read: dict[str, list[Any]] = {}
    for ending, write in FORMATS.items():
        (path := scratch / f"rows.{ending}").write_bytes(write(rows))
        reading = read_path(path, fields=FIELDS)
        assert reading.rejects == []
        read[ending] = [
            ({name: r[name] for name in SAME}, _flat_extra(r["extra"])) for r in reading.records
        ]

    expected = [
        (
            {
                "record_id": row["id"],
                "paper_id": row["doi"],
                "question_id": None,
                "question": row["query"],
                "passages": [
                    {"text": p, "source": None} if isinstance(p, str) else p
                    for p in row["result"]["contexts"]
                ],
                "recorded_answer": row["answer"],
            },
            {
                "doi": row["doi"],
                "result.model": row["result"]["model"],
                "result.score": row["result"]["score"],
                **{name: row[name] for name in ("year", "weight", "open", "zip", "note")},
            },
        )
        for row in rows
    ]
    for ending, records in read.items():
        assert records == expected, ending


def _flat_extra(extra: bytes) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for name, value in orjson.loads(extra).items():
        inner = value.items() if isinstance(value, dict) else ()
        cells |= {f"{name}.{key}": v for key, v in inner} if inner else {name: value}
    return cells


ROWS = [
    {
        "doi": f"10.5555/kelp.{paper}",
        "label": f"{paper}-{n}",
        "query": f"How many herons nested at pond {n}?",
        "year": 2000 + paper,
        "result": {
            "contexts": [f"At pond {n} we counted {n + 3} herons, they say.", "Rain fell."],
        },
    }
    for paper in range(3)
    for n in range(4)
]


def test_a_job_gives_the_same_keys_and_answers_in_every_format(tmp_path: Path) -> None:
    template = tmp_path / "prompt.md"
    template.write_text(
        "---\nname: short\nversion: 1\n---\n{{ extra.doi }} of {{ extra.year }}\n"
        "{% for p in passages %}{{ p.text }}\n{% endfor %}{{ question }}\n"
    )
    answers = {}
    for ending, write in FORMATS.items():
        (path := tmp_path / f"in.{ending}").write_bytes(write(ROWS))
        fields = {**FIELDS, "record_id": "label"}
        task = job(path, tmp_path / f"store-{ending}", prompt=str(template))
        task = task.model_copy(
            update={"input": task.input.model_validate({"uri": str(path), "fields": fields})}
        )
        assert counts(run(task)) == {"read": 12, "answered": 12}
        assert counts(run(task)) == {"read": 12, "current": 12}
        answers[ending] = sorted(
            (r["record_id"], r["generation_key"], r["answer"])
            for r in stored(tmp_path / f"store-{ending}").to_pylist()
        )

    assert len({tuple(found) for found in answers.values()}) == 1
    assert len(answers["csv"]) == 12
