"""`input.bucket`: 3/64 is the third of 64 slices of the papers, for runs without a coordinator.

The slices are ranges of a hash of a record's key, so 3/64 and 4/64 together are 2/32. The key is
the paper's id, so that records with a shared prefix stay together, or else the record's id as the
input has it: the place that is added to an id which others have too does not count.
"""

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import pyarrow as pa

_NUMBER_OF = re.compile(r"([1-9]\d{0,8})/([1-9]\d{0,8})")
_PLACES = re.compile(r"(@[0-9a-f]{8})+$")
_PART_TAG = re.compile(r"-b([1-9]\d{0,8})of([1-9]\d{0,8})-[0-9a-f]{12}\.parquet$")


@dataclass(frozen=True, slots=True)
class Bucket:
    """Slice `number` (from 1) of `of` slices; by default all keys."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: object) -> Self:
        """Raises `ValueError` for anything not written like 3/64."""
        if isinstance(text, cls):
            return text
        written = _NUMBER_OF.fullmatch(str(text))
        if not written or int(written[1]) > int(written[2]):
            raise ValueError("write <number>/<of>, as in 3/64 for the third of 64 slices")
        return cls(int(written[1]), int(written[2]))

    @classmethod
    def of_part(cls, name: str) -> Self:
        """The bucket whose rows a part file holds, read from the file's name."""
        tag = _PART_TAG.search(name)
        return cls(int(tag[1]), int(tag[2])) if tag else cls()

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def tag(self) -> str:
        """A piece of a part's file name, so that runs on other buckets need not open the part."""
        return "" if self.is_whole else f"b{self.number}of{self.of}-"

    @property
    def is_whole(self) -> bool:
        return self.of == 1

    def holds(self, key: str) -> bool:
        if self.is_whole:
            return True
        given = _PLACES.sub("", key)
        hashed = blake2b(given.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(hashed, "big") * self.of >> 64 == self.number - 1

    def mask(self, keys: "pa.ChunkedArray") -> "pa.BooleanArray":
        """Marks the keys that belong to this bucket; hashes each distinct key once."""
        import pyarrow as pa  # a job file is read without it, in a fraction of the time

        encoded = keys.combine_chunks().dictionary_encode()
        holds = pa.array(map(self.holds, encoded.dictionary.to_pylist()), pa.bool_())
        return holds.take(encoded.indices)

    def overlaps(self, other: "Bucket") -> bool:
        """Whether a key can be in both buckets."""
        return (self.number - 1) * other.of < other.number * self.of and (
            other.number - 1
        ) * self.of < self.number * other.of


WHOLE = Bucket()
