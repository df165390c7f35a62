"""What the next attempt at a record asks, by what the checks found in the last one."""

from collections.abc import Sequence

from pipeline.engines.engine import Request
from pipeline.model import Ask, Completion, Repair


def next_request(
    request: Request, said: Completion, repairs: Sequence[Repair | None]
) -> Request | None:
    """The request that repairs an answer, or None where one of its faults is beyond repair.

    What several checks want goes into one attempt: their words in one turn, a larger token limit
    with it. An answer that nobody has words for is sampled anew.
    """
    if None in repairs:
        return None
    asks = tuple(repair for repair in repairs if isinstance(repair, Ask))
    longer = "more_tokens" in repairs
    return request.again(said, asks, anew=not asks and not longer, longer=longer)
