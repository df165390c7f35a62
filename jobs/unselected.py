"""Says why a command has met no record, where `--only` left none."""

from rich.console import Console

from pipeline.answering.prepare import Prepared
from pipeline.core.text import harmless
from pipeline.run.unselected import why_nothing


def show_unselected(console: Console, prepared: Prepared, read: int) -> None:
    """Prints nothing if any record was read."""
    for line in () if read else why_nothing(prepared):
        console.print(harmless(line), markup=False, emoji=False)
