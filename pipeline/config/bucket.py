"""`input.bucket`: 3/64 is the third of 64 slices of the keys, for runs that need no coordinator.

A record's key is its paper, so that what shares a prefix stays together; without one, its id. The
slices are ranges of a hash of the key: 3/64 and 4/64 together are 2/32.
"""

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_WRITTEN = re.compile(r"([1-9]\d{0,8})/([1-9]\d{0,8})")
_TAGGED = re.compile(r"-b([1-9]\d{0,8})of([1-9]\d{0,8})-[0-9a-f]{12}\.parquet$")


@dataclass(frozen=True, slots=True)
class Bucket:
    """The slice `number` (from 1) of `of`; all keys where there is but one."""

    number: int = 1
    of: int = 1

    @classmethod
    def read(cls, text: object) -> Self:
        """Raises `ValueError` for what is not written like 3/64."""
        if isinstance(text, cls):
            return text
        written = _WRITTEN.fullmatch(str(text))
        if not written or int(written[1]) > int(written[2]):
            raise ValueError("reads <number>/<of>, as in 3/64 for the third of 64 slices")
        return cls(int(written[1]), int(written[2]))

    @classmethod
    def tagged(cls, name: str) -> Self:
        """The bucket whose rows a part holds, by the part's name."""
        tag = _TAGGED.search(name)
        return cls(int(tag[1]), int(tag[2])) if tag else cls()

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def tag(self) -> str:
        """For the name of a part, so that who wants another slice need not open it."""
        return "" if self.is_whole else f"b{self.number}of{self.of}-"

    @property
    def is_whole(self) -> bool:
        return self.of == 1

    def holds(self, key: str) -> bool:
        if self.is_whole:
            return True
        hashed = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(hashed, "big") * self.of >> 64 == self.number - 1

    def mask(self, keys: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
        """Which of the keys it holds; each is hashed once."""
        encoded = keys.combine_chunks().dictionary_encode()
        held = np.array([self.holds(key) for key in encoded.dictionary.to_pylist()], dtype=bool)
        return held[encoded.indices.to_numpy()] if len(keys) else held

    def meets(self, other: "Bucket") -> bool:
        """Whether a key may be in both."""
        return (self.number - 1) * other.of < other.number * self.of and (
            other.number - 1
        ) * self.of < self.number * other.of


WHOLE = Bucket()
