"""Whether there is a store at all: what only reads one finds nothing wrong with an empty folder."""

from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import Location
from pipeline.store.schema import ANSWERS_FOLDER, REJECTS_FOLDER, RUNS_FOLDER


def existing_store(store: Location) -> Location:
    """The store; raises `ConfigError` if no run has left anything there."""
    if not any(store.join(name).files() for name in (RUNS_FOLDER, ANSWERS_FOLDER, REJECTS_FOLDER)):
        raise ConfigError(
            f"output.uri: {store.uri}: no store there, neither answers nor rejects nor a run; "
            "correct output.uri, or start with overnight run"
        )
    return store
