"""A Ray that is slow to start is started once more."""

from collections.abc import Iterable

import pytest

from pipeline.cluster.session import start_patiently
from pipeline.core.errors import EngineError

SLOW = [
    Exception("The current node timed out during startup. This could happen because …"),
    TimeoutError("Timed out while waiting for the GCS"),
    RuntimeError("Failed to connect to GCS within timeout"),
]


class Starter:
    """Fails with each of these errors in turn, then starts."""

    def __init__(self, errors: Iterable[Exception]) -> None:
        self.errors = list(errors)
        self.starts = self.clean_ups = 0

    def start(self) -> None:
        self.starts += 1
        if self.errors:
            raise self.errors.pop(0)

    def clean_up(self) -> None:
        self.clean_ups += 1


@pytest.mark.parametrize("error", SLOW, ids=lambda error: type(error).__name__)
def test_a_start_that_was_too_slow_is_tried_once_more(error):
    starter = Starter([error])
    start_patiently(starter.start, starter.clean_up)
    assert (starter.starts, starter.clean_ups) == (2, 1)


@pytest.mark.parametrize(
    ("errors", "starts"), [(SLOW[:2], 2), ([ValueError("no such option: num_cpu")], 1)]
)
def test_a_start_that_fails_for_good_says_why_and_leaves_nothing_behind(errors, starts):
    starter = Starter(errors)
    with pytest.raises(EngineError, match=f"Ray did not start: {type(errors[-1]).__name__}: "):
        start_patiently(starter.start, starter.clean_up)
    assert (starter.starts, starter.clean_ups) == (starts, starts)
