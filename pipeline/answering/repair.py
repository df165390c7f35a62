"""What the next attempt at a record asks, by what the checks found in the last one."""

from collections.abc import Sequence

from pipeline.core.records import Ask, Completion, Repair
from pipeline.engines.engine import Request


def next_request(
    request: Request, said: Completion, repairs: Sequence[Repair | None]
) -> Request | None:
    """The request that repairs an answer, or None where one of its faults is beyond repair.

    What several checks want goes into one attempt: their words in one turn, a larger token limit
    with it. An answer that is to be sampled anew is not talked about: it would only be imitated.
    """
    if None in repairs:
        return None
    anew, longer = "sample_anew" in repairs, "more_tokens" in repairs
    asks = () if anew else tuple(repair for repair in repairs if isinstance(repair, Ask))
    return request.again(said, asks, anew=anew, longer=longer)
