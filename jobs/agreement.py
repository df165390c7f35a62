"""`overnight agreement`: how far models, judges and people agree."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.config.schema import Job
from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import Storage
from pipeline.core.text import harmless, plural
from pipeline.results.agreement.conversion import check_conversion, described
from pipeline.results.agreement.document import as_document, majority_counts
from pipeline.results.agreement.measures import LEVEL, RESAMPLES, Figure
from pipeline.results.agreement.raters import Rater
from pipeline.results.agreement.ratings import read_ratings
from pipeline.results.agreement.summary import Agreement, agree
from pipeline.results.agreement.tables import long_table, wide_table
from pipeline.results.corrections.standing import standing
from pipeline.results.export.files import check_ending, export_table
from pipeline.results.review.precision import CheckPrecision, precision_by_check
from pipeline.store.presence import existing_store

NAME_CHARACTERS = 40


def main(
    console: Console,
    job: Job,
    raters: Sequence[str],
    conversion: str | None,
    to: str | None,
    wide: bool,
    seed: int,
) -> tuple[int, dict[str, Any]]:
    """Exit code 0, and all figures. `to` is where to write what each rater says."""
    known = check_conversion(conversion)
    if wide and not to:
        raise ConfigError("--wide: says how --to writes its file; add --to FILE")
    if to:
        check_ending(to, wide=False)
    storage = Storage(job.storage)
    store = existing_store(storage.at(job.output.uri))
    ratings = read_ratings(store, raters, known)
    agreement = agree(ratings, seed)
    _show(console, agreement)
    checks = precision_by_check(store, standing(store))
    if checks:
        console.print(_precision(checks))
    document = {**as_document(agreement), "checks": [c.document for c in checks]}
    if to:
        rows = export_table((wide_table if wide else long_table)(ratings), to, storage)
        console.print(f"\n{plural(rows, 'row')} in {to}", markup=False)
        document |= {"to": to, "rows": rows}
    return 0, document


def _show(console: Console, agreement: Agreement) -> None:
    ratings = agreement.ratings
    console.print(f"yes or no: {described(ratings.conversion)} ({ratings.conversion})")
    papers = plural(len(ratings.paper.names), "paper")
    console.print(
        f"intervals: {LEVEL}%, {RESAMPLES:,} resamples of {papers}, seed {agreement.seed}"
    )
    for table in (_raters(agreement), _pairs(agreement), _by_question(agreement)):
        if table.row_count:
            console.print()
            console.print(table)
    said = majority_counts(agreement.majority)
    console.print(
        f"\nmajority of {agreement.majority.of}: "
        + ", ".join(f"{count:,} {word}" for word, count in said.items() if count)
    )
    if ratings.unconverted:
        console.print(
            f"{plural(ratings.unconverted, 'answer')} missing: without {ratings.conversion}, which "
            "overnight recheck fills in",
            markup=False,
        )
    if ratings.stale:
        console.print(
            f"{plural(ratings.stale, 'correction')} left out: about another text than today's"
        )


def _raters(agreement: Agreement) -> Table:
    table = _table("rater", "yes", "no", "unsure", "missing", "share of yes")
    for of in agreement.raters:
        numbers = [f"{count:,}" for count in (*of.counts.values(), of.missing)]
        table.add_row(_name(of.rater), *numbers, _shown(of.yes_share))
    return table


def _pairs(agreement: Agreement) -> Table:
    table = _table("raters", "κ", "agreement", "n")
    for pair in agreement.pairs:
        names = _name(pair.raters[0]) + Text(" × ") + _name(pair.raters[1])
        whole = pair.whole
        table.add_row(names, _shown(whole.kappa), _shown(whole.agreement), f"{whole.n:,}")
    for group in agreement.groups:
        whole = group.whole
        names = Text(f"all {len(group.raters)} {group.raters[0].kind}s, with Fleiss' κ")
        table.add_row(names, _shown(whole.kappa), _shown(whole.agreement), f"{whole.n:,}")
    return table


def _by_question(agreement: Agreement) -> Table:
    """The first group's agreement by question, or that of the first pair; `--json` has all."""
    table = _table("question", "κ", "agreement", "n")
    for of in [*agreement.groups, *agreement.pairs][:1]:
        for question, agreed in zip(agreement.questions, of.questions, strict=True):
            name = Text(harmless(question)[:NAME_CHARACTERS])
            figures = (_shown(agreed.kappa), _shown(agreed.agreement))
            table.add_row(name, *figures, f"{agreed.n:,}")
    return table


def _precision(checks: Sequence[CheckPrecision]) -> Table:
    table = _table("\ncheck, read by people", "flags", "right", "precision")
    for check in checks:
        share = f"{check.precision:.2f} [{check.low:.2f}, {check.high:.2f}]"
        table.add_row(Text(harmless(check.check)), f"{check.read:,}", f"{check.right:,}", share)
    return table


def _table(*columns: str) -> Table:
    table = Table(*columns, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _name(rater: Rater) -> Text:
    return Text(harmless(rater.shown))


def _shown(figure: Figure) -> Text:
    return Text(str(figure))
