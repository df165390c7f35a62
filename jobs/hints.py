"""Says what a person may have to change: why `--only` left nothing, and columns to be named."""

from collections.abc import Mapping

from rich.console import Console

from pipeline.answering.prepare import Prepared
from pipeline.core.text import harmless, plural
from pipeline.runs.unselected import why_nothing


def show_unselected(console: Console, prepared: Prepared, read: int) -> None:
    """Prints nothing if any record was read."""
    for line in () if read else why_nothing(prepared):
        console.print(harmless(line), markup=False, emoji=False)


def show_unnamed(console: Console, reject_details: Mapping[str, int]) -> None:
    """Prints the most frequent reject that naming a column in `input.fields` may save."""
    details = (detail for detail in reject_details if "input.fields." in detail)
    for detail in list(details)[:1]:
        count = plural(reject_details[detail], "record")
        console.print(harmless(f"{count}: {detail}"), markup=False, emoji=False)
