"""Where models differ, and how many answers there is each reason to read, over whole stores."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.core.filesystem import Location, Storage
from pipeline.results.differing import count_reasons, differing_records
from pipeline.results.reading_order import COLUMNS, rank
from pipeline.store.reader import BY_RECORD, read_rows
from tests.support.export_rows import row
from tests.support.reading import claim, store_of


def test_models_differ_by_their_newest_answers(tmp_path):
    def said(record_id: str, model: str, verdict: str, key: str = "k") -> dict[str, Any]:
        generation_key = f"{model} {key}"
        return row(record_id, model=model, answers_question=verdict, generation_key=generation_key)

    store = store_of(
        tmp_path / "models",
        [said("both", "a", "yes"), said("once", "a", "no"), said("alone", "a", "yes")],
        [said("both", "b", "no"), said("once", "b", "yes"), said("unsure", "b", "unsure")],
        [said("once", "a", "yes", "an edited prompt"), said("unsure", "a", "yes")],
    )
    rows = pa.concat_tables(read_rows(store, columns=COLUMNS))
    found = rank(rows, differing_records(store))
    ids = rows["record_id"].to_pylist()
    differing = {ids[i] for i in range(len(ids)) if "differing" in found.reasons(i)}
    assert differing == {"both"}
    assert count_reasons(store)["differing"] == 1


def test_counts_are_of_newest_answers(tmp_path):
    store = store_of(
        tmp_path / "newest",
        [row("a", status="failed"), row("b", answers_question="unsure")],
        [row("a", generation_key="later", claims=[claim("unsupported")])],
    )
    assert count_reasons(store) == {"failed": 0, "unsure": 1, "unsupported": 1, "differing": 0}


def test_a_store_of_an_earlier_release_gives_the_reasons_that_it_can():
    old = Path(__file__).parents[1] / "store/old/store"
    store: Location = Storage().at(str(old))
    counts = count_reasons(store)
    newest = pa.concat_tables(read_rows(store, BY_RECORD, ["status"]))
    failed = newest["status"].to_pylist().count("failed")
    assert newest.num_rows
    assert counts == {"failed": failed, "unsure": 0, "unsupported": 0, "differing": 0}
