"""Under what every record of a store was last answered: what a plan compares today's job with."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.bucket import WHOLE, Bucket
from pipeline.core.arrow import structs_of_lists
from pipeline.core.filesystem import Location
from pipeline.core.records import Message
from pipeline.store.parts import columns_in, read_part, read_parts, rows_in, with_parts
from pipeline.store.reader import LATEST
from pipeline.store.reader_rule import (
    DIGEST_BYTES,
    Digests,
    as_digests,
    micros,
    newest,
    row_digests,
)
from pipeline.store.schema import ANSWERS_FOLDER

Numbers = npt.NDArray[np.int32]


class Circumstances(NamedTuple):
    """What decides an answer besides its messages, and the prompt's name; as the columns say it."""

    prompt_name: str | None
    prompt_version: str | None
    model: str | None
    model_revision: str | None
    sampling: str | None


@dataclass(frozen=True, slots=True)
class Past:
    """The newest answer of one record, and the part that holds it."""

    prompt_key: bytes
    circumstances: Circumstances
    part: str


@dataclass(frozen=True, slots=True)
class History:
    """One entry a record, sorted by the digest of its id: 40 bytes each, all columns as long."""

    records: Digests
    prompt_keys: Digests
    circumstances: Numbers  # positions in `known`
    parts: Numbers  # positions in `paths`
    known: tuple[Circumstances, ...]
    paths: tuple[str, ...]

    @staticmethod
    def of(store: Location, bucket: Bucket = WHOLE) -> "History":
        """Reads some small columns of the parts of a store, which may not exist yet."""
        folder = store.join(ANSWERS_FOLDER)
        return with_parts(folder, lambda parts: _history(folder, parts, bucket), bucket)

    def find(self, record_ids: Sequence[str]) -> list[Past | None]:
        """For each id its newest answer, if there is one."""
        return [None if at is None else self._past(at) for at in self._positions(record_ids)]

    def _past(self, at: int) -> Past:
        # NumPy hands out its bytes without the zeros at their end.
        prompt_key = self.prompt_keys[at].ljust(DIGEST_BYTES, b"\0")
        known = self.known[self.circumstances[at]]
        return Past(prompt_key, known, self.paths[self.parts[at]])

    def _positions(self, record_ids: Sequence[str]) -> list[int | None]:
        if not len(self.records):
            return [None] * len(record_ids)
        keys = row_digests(pa.table({"record_id": record_ids}), LATEST)
        at = np.searchsorted(self.records, keys).clip(max=len(self.records) - 1)
        hits = self.records[at] == keys
        return [int(a) if hit else None for a, hit in zip(at, hits, strict=True)]


def stored_messages(store: Location, parts: Mapping[str, str]) -> dict[str, list[Message]]:
    """The prompts that records were last asked with, by record, from the parts named for each."""
    found: dict[str, tuple[int, list[Message]]] = {}
    for path in set(parts.values()):
        for time, record_id, said in _asked(store, path, parts):
            if record_id not in found or found[record_id][0] <= time:
                found[record_id] = time, said
    return {record_id: said for record_id, (_, said) in found.items()}


def _history(folder: Location, parts: Sequence[str], bucket: Bucket) -> History:
    records, prompt_keys = [as_digests([])], [as_digests([])]
    times, places = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
    numbers, known = [np.empty(0, np.int32)], dict[Circumstances, int]()
    columns = columns_in(bucket, [*LATEST, "prompt_key", *Circumstances._fields, "written_at"])
    for number, held in enumerate(read_parts(folder.fs, parts, columns)):
        rows = rows_in(bucket, held)
        records.append(row_digests(rows, LATEST))
        prompt_keys.append(as_digests(map(bytes.fromhex, rows["prompt_key"].to_pylist())))
        times.append(micros(rows))
        cells = (rows[name].to_pylist() for name in Circumstances._fields)
        met = (
            known.setdefault(Circumstances(*row), len(known)) for row in zip(*cells, strict=True)
        )
        numbers.append(np.fromiter(met, np.int32, rows.num_rows))
        places.append(np.full(rows.num_rows, number, np.int32))
    every = np.concatenate(records)
    latest = newest(every, np.concatenate(times))
    return History(
        every[latest],
        np.concatenate(prompt_keys)[latest],
        np.concatenate(numbers)[latest],
        np.concatenate(places)[latest],
        tuple(known),
        tuple(parts),
    )


def _asked(
    store: Location, path: str, record_ids: Collection[str]
) -> Iterator[tuple[int, str, list[Message]]]:
    rows = read_part(store.fs, path, [*LATEST, "messages", "written_at"])
    rows = rows.filter(pc.field("record_id").isin(list(record_ids)))
    messages = map(list, structs_of_lists(rows["messages"], Message))
    yield from zip(micros(rows).tolist(), rows["record_id"].to_pylist(), messages, strict=True)
