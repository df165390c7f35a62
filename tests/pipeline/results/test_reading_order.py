"""What people should read first, over rows made for the purpose."""

from itertools import count, product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.results.differing import differing_records
from pipeline.results.reading_order import (
    COLUMNS,
    REASONS,
    Ranks,
    rank,
)
from pipeline.store.reader import read_rows
from tests.support.export_rows import row
from tests.support.reading import claim, judgement, store_of

_numbers = count()


def ranks(folder: Path, *rows: dict[str, Any]) -> Ranks:
    store = store_of(folder / f"{next(_numbers)}", rows)
    return rank(pa.concat_tables(read_rows(store, columns=COLUMNS)), differing_records(store))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("stores")


FIELDS = {
    "failed": {"status": "failed", "failed_checks": ["echo"]},
    "unsure": {"answers_question": "unsure"},
    "unsupported": {"claims": [claim("general"), claim("unsupported")]},
    "differing": {"judgements": [judgement("one", "yes"), judgement("two", "no")]},
}


@pytest.mark.parametrize("applies", list(product([True, False], repeat=4)))
def test_every_reason_is_found_alone_and_beside_others(folder, applies):
    fields = [FIELDS[reason] for reason, is_so in zip(REASONS, applies, strict=True) if is_so]
    found = ranks(folder, row("a", **{k: v for f in fields for k, v in f.items()}))
    expected = tuple(r for r, is_so in zip(REASONS, applies, strict=True) if is_so)
    assert found.reasons(0) == expected
    assert found.first_reasons() == [expected[0] if expected else None]


def test_a_more_urgent_reason_outweighs_all_others_together(folder):
    rows = [row(reason, **FIELDS[reason], p_answered=0.99) for reason in REASONS]
    rest = [
        row(f"but {r}", p_answered=0.5, **{k: v for o in REASONS[i:] for k, v in FIELDS[o].items()})
        for i, r in enumerate(REASONS[:-1], start=1)
    ]
    scores = ranks(folder, *rows, *rest).scores
    for i in range(len(rest)):
        assert scores[i] > scores[len(rows) + i]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=6))
def test_of_answers_with_the_same_reasons_the_closest_call_comes_first(folder, chances):
    rows = [row(f"{i}", answers_question="unsure", p_answered=p) for i, p in enumerate(chances)]
    scores = ranks(folder, *rows).scores
    by_score = sorted(range(len(chances)), key=lambda i: -scores[i])
    distances = [abs(chances[i] - 0.5) for i in by_score]
    assert distances == pytest.approx(sorted(distances), abs=1e-6)


@pytest.mark.parametrize(
    ("own", "judged", "differs"),
    [
        ("yes", ["no"], True),
        ("no", ["yes"], True),
        ("yes", ["yes", "no"], True),
        (None, ["yes", "no"], True),
        ("yes", ["yes"], False),
        ("yes", ["unsure"], False),
        ("unsure", ["no"], False),
        (None, ["no"], False),
        ("no", [], False),
        ("no", None, False),
    ],
)
def test_raters_differ_where_one_says_yes_and_another_no(folder, own, judged, differs):
    judgements = None if judged is None else [judgement(f"{i}", v) for i, v in enumerate(judged)]
    found = ranks(folder, row("a", answers_question=own, judgements=judgements))
    assert ("differing" in found.reasons(0)) is differs


@pytest.mark.parametrize(("said", "reasons"), [("no", ("unsupported",)), ("yes", ())])
def test_a_judge_of_support_does_not_differ_from_the_verdict_on_answering(folder, said, reasons):
    judgements = [judgement("judge:supported@1:m", said), judgement("judge:answers@1:m", "yes")]
    assert ranks(folder, row("a", answers_question="yes", judgements=judgements)).reasons(
        0
    ) == tuple(reasons)
