"""The last answer of every record in a store, which a plan compares with today's job."""

from collections.abc import Mapping, Sequence
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
from pipeline.store.reader import (
    BY_RECORD,
    DIGEST_BYTES,
    Digests,
    as_digests,
    newest,
    row_digests,
    written_micros,
)
from pipeline.store.schema import ANSWERS_FOLDER

Positions = npt.NDArray[np.int32]


class Provenance(NamedTuple):
    """What an answer was generated with, besides its messages: columns of `answers`."""

    prompt_name: str | None
    prompt_version: str | None
    model: str | None
    model_revision: str | None
    adapter: str | None
    sampling: str | None
    settings: str | None  # None where an earlier release wrote the answer


@dataclass(frozen=True, slots=True)
class LastAnswer:
    """The newest answer of one record, and the path of the part that holds it."""

    prompt_key: bytes
    provenance: Provenance
    part: str


@dataclass(frozen=True, slots=True)
class History:
    """One entry of 40 bytes per record, sorted by the digest of its id; arrays of equal length."""

    records: Digests
    prompt_keys: Digests
    provenance: Positions  # in `provenances`
    parts: Positions  # in `paths`
    provenances: tuple[Provenance, ...]
    paths: tuple[str, ...]

    @staticmethod
    def of(store: Location, bucket: Bucket = WHOLE) -> "History":
        """Reads some small columns of a store, which may not exist yet."""
        folder = store.join(ANSWERS_FOLDER)
        return with_parts(folder, lambda parts: _history(folder, parts, bucket), bucket)

    def find(self, record_ids: Sequence[str]) -> list[LastAnswer | None]:
        """The newest answer of each record, or None."""
        if not len(self.records):
            return [None] * len(record_ids)
        keys = row_digests(pa.table({"record_id": record_ids}), BY_RECORD)
        at = np.searchsorted(self.records, keys).clip(max=len(self.records) - 1)
        hits = self.records[at] == keys
        return [self._answer(a) if hit else None for a, hit in zip(at, hits, strict=True)]

    def _answer(self, at: int) -> LastAnswer:
        # NumPy strips zeros from the end of bytes.
        prompt_key = self.prompt_keys[at].ljust(DIGEST_BYTES, b"\0")
        provenance = self.provenances[self.provenance[at]]
        return LastAnswer(prompt_key, provenance, self.paths[self.parts[at]])


def stored_messages(store: Location, parts: Mapping[str, str]) -> dict[str, list[Message]]:
    """The messages of the last answers, by record id; `parts` names the part of each record."""
    latest: dict[str, tuple[int, list[Message]]] = {}
    for path in set(parts.values()):
        rows = read_part(store.fs, path, [*BY_RECORD, "messages", "written_at"])
        rows = rows.filter(pc.field("record_id").isin(list(parts)))
        ids, times = rows["record_id"].to_pylist(), written_micros(rows).tolist()
        messages = structs_of_lists(rows["messages"], Message)
        for record_id, time, texts in zip(ids, times, messages, strict=True):
            if record_id not in latest or latest[record_id][0] <= time:
                latest[record_id] = time, list(texts)
    return {record_id: messages for record_id, (_, messages) in latest.items()}


def _history(folder: Location, parts: Sequence[str], bucket: Bucket) -> History:
    records, prompt_keys = [as_digests([])], [as_digests([])]
    times, places = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
    provenance, numbers = [np.empty(0, np.int32)], dict[Provenance, int]()
    columns = columns_in(bucket, [*BY_RECORD, "prompt_key", *Provenance._fields, "written_at"])
    for number, part in enumerate(read_parts(folder.fs, parts, columns)):
        rows = rows_in(bucket, part)
        records.append(row_digests(rows, BY_RECORD))
        prompt_keys.append(as_digests(map(bytes.fromhex, rows["prompt_key"].to_pylist())))
        times.append(written_micros(rows))
        cells = (rows[name].to_pylist() for name in Provenance._fields)
        row_numbers = (
            numbers.setdefault(Provenance(*row), len(numbers)) for row in zip(*cells, strict=True)
        )
        provenance.append(np.fromiter(row_numbers, np.int32, rows.num_rows))
        places.append(np.full(rows.num_rows, number, np.int32))
    digests = np.concatenate(records)
    latest = newest(digests, np.concatenate(times))
    return History(
        digests[latest],
        np.concatenate(prompt_keys)[latest],
        np.concatenate(provenance)[latest],
        np.concatenate(places)[latest],
        tuple(numbers),
        tuple(parts),
    )
