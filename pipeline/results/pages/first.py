"""The answers that a page asks people to read first, with all that it takes to read them.

They are whole on their own: the matrix may have room for none of them.
"""

from collections.abc import Mapping, Sequence

from pipeline.answering.recheck import Boilerplates
from pipeline.results.pages.answers import Row, paper_content
from pipeline.results.pages.page import MAX_DATA_BYTES, compressed_json
from pipeline.results.papers import paper_key, paper_name
from pipeline.results.reading_order import Entry

MAX_FIRST = 50
MAX_FIRST_BYTES = MAX_DATA_BYTES // 4


def first_content(
    entries: Sequence[Entry], rows: Mapping[str, Row], boilerplates: Boilerplates
) -> str:
    """Compressed content of the answers in their order, as many as there is room for.

    `rows` are the answers by record. `order` has for each the number of its paper in `papers`, its
    number among the answers there, the paper's name, and the reasons to read it.
    """
    entries = [entry for entry in entries if entry.record_id in rows]
    while len(content := compressed_json(_content(entries, rows, boilerplates))) > MAX_FIRST_BYTES:
        entries = entries[: len(entries) // 2]
    return content


def _content(
    entries: Sequence[Entry], rows: Mapping[str, Row], boilerplates: Boilerplates
) -> dict[str, object]:
    papers: dict[str, list[Row]] = {}
    order: list[tuple[int, int, str, Sequence[str]]] = []
    for entry in entries:
        row = rows[entry.record_id]
        paper = paper_key(row["paper_id"], row["record_id"])
        answers = papers.setdefault(paper, [])
        number = list(papers).index(paper)
        order.append((number, len(answers), paper_name(paper), entry.reasons))
        answers.append(row)
    contents = [paper_content(answers, boilerplates) for answers in papers.values()]
    return {"papers": contents, "order": order}
