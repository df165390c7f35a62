"""What the data flows through: shards to records, prompts, answers and Parquet parts.

`flow.py` holds the whole job on one screen; the folders are its rooms, in the order in which
the data visits them. For other programs there are `run`, `preview` and `read_answers`.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.python import Result as Result
    from jobs.python import preview as preview
    from jobs.python import run as run
    from pipeline.store import read_answers as read_answers

try:
    __version__ = version("overnight")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"

__all__ = ["Result", "__version__", "preview", "read_answers", "run"]


def __getattr__(name: str) -> Any:
    """Imports what programs ask for when they do: every module of the pipeline is below it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "pipeline.store" if name == "read_answers" else "jobs.python"
    return getattr(import_module(home), name)
