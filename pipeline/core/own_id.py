"""Ids of records that share theirs with others, and what a person is told of them.

An id names one record. Where an input gives one id to different content, each such record gets an
id of its own, which ends in a digest of the record's place.
"""

import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from pipeline.core.records import Place
from pipeline.core.text import plural

OWN_SUFFIX = re.compile(r"@[0-9a-f]{8}$")

MOST_EXAMPLES = 3


def own_id(record_id: str, place: Place) -> str:
    """The id of a record that shares `record_id` with other content: the same on every machine."""
    written = f"{place.uri}#{place.row}".encode()
    return f"{record_id}@{blake2b(written, digest_size=4).hexdigest()}"


class Named(NamedTuple):
    """A record that was met under an id which others have too, and the id that it now has."""

    user_id: str
    uri: str
    row: int
    record_id: str

    @property
    def place(self) -> str:
        return f"{self.uri}#{self.row}"


def examples_of(named: Sequence[Named]) -> list[Named]:
    """A few of them, always the same: the first ids in order, with the first places of each."""
    chosen: dict[str, list[Named]] = {}
    for one in sorted(set(named)):
        chosen.setdefault(one.user_id, []).append(one)
    return [
        one for user_id in list(chosen)[:MOST_EXAMPLES] for one in chosen[user_id][:MOST_EXAMPLES]
    ]


def lines_about(ids: Mapping[str, Any]) -> list[str]:
    """What a person should know of an input's ids, from what `run.json` says of them."""
    lines = []
    if shared := ids.get("shared"):
        written = "; ".join(
            f"{example['id']} ("
            + ", ".join(f"{r['place']} is {r['record_id']}" for r in example["records"])
            + ")"
            for example in ids["examples"]
        )
        lines.append(
            f"{plural(shared, 'id')} for {plural(ids['records'], 'different record')}: {written}; "
            "each has an id of its own until the input names it better"
        )
    if copies := ids.get("identical"):
        written = ", ".join(place for copy in ids["copies"] for place in copy["places"])
        lines.append(f"{plural(copies, 'identical copy', 'identical copies')} left out: {written}")
    return lines
