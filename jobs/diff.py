"""`overnight diff`: two prompts, models or runs, compared answer by answer."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.config.loading import load_job
from pipeline.core.filesystem import Storage
from pipeline.core.text import harmless
from pipeline.results.compare import Comparison, Pair, compare, find_sides
from pipeline.results.pages.comparison import comparison_page

COUNTED = ("word_count", "prompt_tokens", "completion_tokens")


def diff(
    console: Console,
    job_file: str,
    overrides: Sequence[str],
    before: str,
    after: str,
    shown: int,
    html: str | None = None,
) -> tuple[int, dict[str, Any]]:
    """Exit code 0 and the comparison; at most `shown` changes reach a terminal.

    With `html` it is written there as a page too.
    """
    job = load_job(job_file, overrides)
    storage = Storage(job.storage)
    store = storage.at(job.output.uri)
    sides = find_sides(store, before, after)
    found = compare(store, *sides)
    document = {
        "from": dict(sides[0].columns),
        "to": dict(sides[1].columns),
        "records": {
            "both": len(found.pairs),
            "only_from": len(found.only_before),
            "only_to": len(found.only_after),
        },
        "status": _transitions(found.transitions("status")),
        "stance": _transitions(found.transitions("stance")),
        "answers": dict(found.extents()),
        "checks": {n: {"no_longer": a, "newly": b} for n, (a, b) in found.checks().items()},
        "sums": {
            name: dict(zip(("from", "to"), found.sums(name), strict=True)) for name in COUNTED
        },
        "changes": [_change(pair) for pair in found.largest()],
    }
    _show(console, found, document, shown)
    if html:
        target = storage.at(html)
        target.write_whole(comparison_page(found, sides, job.name).encode())
        console.print(f"\n{target.uri}", markup=False)
    return 0, document


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
        for row, missed in zip((pair.before, pair.after), pair.missed, strict=True)
    )
    return {
        "record_id": pair.record_id,
        "extent": pair.extent,
        "likeness": round(pair.likeness, 3),
        "from": was,
        "to": now,
    }


def _show(console: Console, found: Comparison, document: dict[str, Any], shown: int) -> None:
    records = document["records"]
    console.print(
        f"{records['both']:,} records on both sides, {records['only_from']:,} only in --from, "
        f"{records['only_to']:,} only in --to"
    )
    table = Table("", "from → to", "records", box=None, pad_edge=False)
    table.columns[2].justify = "right"
    for column in ("status", "stance"):
        for words, count in document[column].items():
            table.add_row(column, words, f"{count:,}")
    for kind, count in document["answers"].items():
        table.add_row("answers", f"differ in {kind}" if kind != "same" else kind, f"{count:,}")
    for name, counts in document["checks"].items():
        table.add_row(f"misses {name}", "no longer", f"{counts['no_longer']:,}")
        table.add_row(f"misses {name}", "newly", f"{counts['newly']:,}")
    console.print(table)
    for name in COUNTED:
        was, now = found.sums(name)
        console.print(f"{name.replace('_', ' ')}: {was:,} → {now:,}")
    for change in document["changes"][:shown]:
        _show_change(console, change)
    if len(document["changes"]) > shown:
        console.print(f"\n… and {len(document['changes']) - shown:,} more, which --json lists")


def _show_change(console: Console, change: dict[str, Any]) -> None:
    was, now = change["from"], change["to"]
    console.print(
        f"\n{harmless(change['record_id'])}: {was['status']}, {was['stance']} → {now['status']}, "
        f"{now['stance']}; {change['likeness']:.0%} of content words alike",
        markup=False,
    )
    for sign, side in (("-", was), ("+", now)):
        for line in (side["answer"] or "").splitlines() or [""]:
            console.print(f"{sign} {harmless(line)}", markup=False)
