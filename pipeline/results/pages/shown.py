"""Which page shows the answers of a store as they are now.

Every page about a run says in its head what state of the store it shows, and which run's page has
the answers: its own, or an earlier one that it refers to.
"""

import re
from typing import NamedTuple, Self

from pipeline.core.filesystem import Location, storage_errors
from pipeline.store.reader import key_digest
from pipeline.store.run_file import RUN_ID
from pipeline.store.schema import RUNS_FOLDER

PAGE = "report.html"
HEAD_BYTES = 4096
"""So much of a page is read: its style begins behind the line that is looked for."""

_LINE = re.compile(
    rf'<meta name="overnight-answers" content="([0-9a-f]{{32}}) ({RUN_ID.pattern})">'
)


class Shown(NamedTuple):
    """A state of a store, and the run whose page has its answers."""

    state: str
    run_id: str

    def __str__(self) -> str:
        return f"{self.state} {self.run_id}"

    @classmethod
    def on_page(cls, store: Location, run_id: str) -> Self | None:
        """What the page about a run shows; None if there is no such page, or it does not say."""
        page = store.join(RUNS_FOLDER, run_id, PAGE)
        with storage_errors(page.uri):
            try:
                head = page.fs.cat_file(page.path, 0, HEAD_BYTES)
            except FileNotFoundError:
                return None
        line = _LINE.search(head.decode(errors="replace"))
        return cls(*line.groups()) if line else None


def state_of(store: Location) -> str:
    """Tells states of a store apart: its files never change, so their names and sizes do."""
    runs = f"{store.join(RUNS_FOLDER).path}/"
    files = sorted(item for item in store.files().items() if not item[0].startswith(runs))
    return key_digest(*(f"{path} {size}".encode() for path, size in files)).hex()
