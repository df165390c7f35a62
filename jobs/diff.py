"""`overnight diff`: compares two prompts, models or runs answer by answer."""

from collections import Counter
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.config.schema import Job
from pipeline.core.carried import columns_of
from pipeline.core.filesystem import Storage
from pipeline.core.text import harmless, plural
from pipeline.results.compare import SUMMED, Comparison, Pair, compare, find_sides
from pipeline.results.pages.comparison import comparison_page
from pipeline.store.presence import existing_store


def main(
    console: Console,
    job: Job,
    before: str,
    after: str,
    max_changes: int,
    html: str | None = None,
) -> tuple[int, dict[str, Any]]:
    """Exit code 0 and the comparison. The terminal shows at most `max_changes` changes.

    `html` is where to write the comparison as a page.
    """
    storage = Storage(job.storage)
    store = existing_store(storage.at(job.output.uri))
    sides = find_sides(store, before, after)
    comparison = compare(store, *sides)
    document = {
        "from": dict(sides[0].columns),
        "to": dict(sides[1].columns),
        **_document(comparison),
    }
    _show(console, document, max_changes)
    if html:
        target = storage.target(html)
        target.write_whole(comparison_page(store, comparison, sides, job.name).encode())
        console.print(f"\n{target.uri}", markup=False)
    return 0, document


def _document(comparison: Comparison) -> dict[str, Any]:
    checks = comparison.check_changes().items()
    return {
        "records": {
            "both": len(comparison.pairs),
            "only_from": len(comparison.only_before),
            "only_to": len(comparison.only_after),
        },
        "status": _transitions(comparison.transitions("status")),
        "stance": _transitions(comparison.transitions("stance")),
        "answers": dict(comparison.change_kinds()),
        "checks": {name: {"no_longer": a, "newly": b} for name, (a, b) in checks},
        "sums": {
            name: dict(zip(("from", "to"), comparison.sums(name), strict=True)) for name in SUMMED
        },
        "changes": [_change(pair) for pair in comparison.largest_changes()],
    }


def _transitions(counts: Counter[tuple[str, str]]) -> dict[str, int]:
    return {f"{was} → {now}": count for (was, now), count in counts.most_common()}


def _change(pair: Pair) -> dict[str, Any]:
    was, now = (
        {
            "status": row["status"],
            "stance": row["stance"],
            "missed_checks": sorted(missed),
            "words": row["word_count"],
            "answer": row["answer"],
        }
        for row, missed in zip((pair.before, pair.after), pair.missed_checks, strict=True)
    )
    return {
        "record_id": pair.record_id,
        "extent": pair.change_kind,
        "likeness": round(pair.similarity, 3),
        "extra": columns_of(pair.carried["extra"]),
        "from": was,
        "to": now,
    }


def _show(console: Console, document: dict[str, Any], max_changes: int) -> None:
    records = document["records"]
    console.print(
        f"{plural(records['both'], 'record')} on both sides, {records['only_from']:,} only in "
        f"--from, {records['only_to']:,} only in --to"
    )
    table = Table("", "from → to", "records", box=None, pad_edge=False)
    table.columns[2].justify = "right"
    for column in ("status", "stance"):
        for transition, count in document[column].items():
            table.add_row(column, transition, f"{count:,}")
    for kind, count in document["answers"].items():
        table.add_row("answers", f"differ in {kind}" if kind != "same" else kind, f"{count:,}")
    for name, counts in document["checks"].items():
        table.add_row(f"misses {name}", "no longer", f"{counts['no_longer']:,}")
        table.add_row(f"misses {name}", "newly", f"{counts['newly']:,}")
    console.print(table)
    for name, sums in document["sums"].items():
        console.print(f"{name.replace('_', ' ')}: {sums['from']:,} → {sums['to']:,}")
    for change in document["changes"][:max_changes]:
        _show_change(console, change)
    if len(document["changes"]) > max_changes:
        console.print(f"\n… and {len(document['changes']) - max_changes:,} more, see --json")


def _show_change(console: Console, change: dict[str, Any]) -> None:
    was, now = change["from"], change["to"]
    console.print(
        f"\n{harmless(change['record_id'])}: {was['status']}, {was['stance']} → {now['status']}, "
        f"{now['stance']}; {change['likeness']:.0%} of content words in common",
        markup=False,
    )
    for sign, side in (("-", was), ("+", now)):
        for line in (side["answer"] or "").splitlines() or [""]:
            console.print(f"{sign} {harmless(line)}", markup=False)
