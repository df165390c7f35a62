"""The keys of a shard's records, kept so that it need not be parsed again while it is unchanged.

`keys/` has a file for each shard of a job. It says what it was made from. A file that was made from
anything else, is damaged or cannot be read is ignored, and any file may be deleted.
"""

from dataclasses import dataclass
from io import BytesIO
from typing import Self

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.arrow import fields
from pipeline.core.filesystem import Location
from pipeline.store.parts import write_part
from pipeline.store.reader import DIGEST_BYTES, key_digest

KEYS_FOLDER = "keys"

SHARD_KEYS = pa.schema(
    [
        *fields(pa.string(), "record_id", "paper_id", "question_id"),
        ("source_row", pa.int64()),
        *fields(pa.string(), "prompt_key", "generation_key"),
        *fields(pa.binary(DIGEST_BYTES), "identity", "answer", "carrying"),
    ]
)
"""`identity` has the digests of id and content; `answer` and `carrying` are those that the ledger
has of an answer, and of an answer with its carried columns."""

_MADE_OF, _CARRIED = b"made_of", b"carried"


@dataclass(frozen=True, slots=True)
class ShardKeys:
    """Rows of `SHARD_KEYS` for all records of a shard, in their order.

    `made_of` is a digest of all that they depend on; `carried` counts the records that have each
    carried column.
    """

    made_of: str
    rows: pa.Table
    carried: dict[str, int]

    @classmethod
    def read(cls, place: Location) -> Self | None:
        """What a file holds, if there is one and it is whole."""
        try:
            data = BytesIO(place.fs.cat_file(place.path))
            rows = pq.read_table(data, page_checksum_verification=True)
            said = rows.schema.metadata
            rows = rows.select(SHARD_KEYS.names).cast(SHARD_KEYS)
            return cls(said[_MADE_OF].decode(), rows, orjson.loads(said[_CARRIED]))
        except Exception:  # noqa: BLE001  whatever is wrong with it, the shard itself is there
            return None

    def write(self, place: Location) -> None:
        """Writes the file whole or not at all, in the place of an earlier one."""
        said = {_MADE_OF: self.made_of.encode(), _CARRIED: orjson.dumps(self.carried)}
        buffer = BytesIO()
        write_part(self.rows.replace_schema_metadata(said), buffer)
        place.write_whole(buffer.getvalue())


def keys_place(store: Location, job: str, shard_uri: str) -> Location:
    """The file for a shard of the job of this name."""
    name = key_digest(job.encode(), shard_uri.encode()).hex()
    return store.join(KEYS_FOLDER, f"{name}.parquet")
