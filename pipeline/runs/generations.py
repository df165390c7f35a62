"""How many generations the work of a plan takes, where equal prompts share one."""

from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.store.reader import DIGEST_DTYPE, Digests


class Shared(NamedTuple):
    """Records whose prompt another record has too, but for one of each prompt, and the estimated
    tokens of these prompts.
    """

    records: int = 0
    prompt_tokens: int = 0


@dataclass(slots=True)
class Generations:
    """The generation keys of records, 16 bytes each, with the estimated tokens of their prompts."""

    keys: list[Digests] = field(default_factory=list)
    tokens: list[npt.NDArray[np.int64]] = field(default_factory=list)

    @classmethod
    def of(cls, work: pa.Table) -> Self:
        keys = bytes.fromhex("".join(work["generation_key"].to_pylist()))
        return cls([np.frombuffer(keys, DIGEST_DTYPE)], [work["tokens"].to_numpy()])

    def add(self, other: Self) -> None:
        self.keys.extend(other.keys)
        self.tokens.extend(other.tokens)

    def shared(self) -> Shared:
        if not self.keys:
            return Shared()
        keys, tokens = np.concatenate(self.keys), np.concatenate(self.tokens)
        _, first = np.unique(keys, return_index=True)
        return Shared(len(keys) - len(first), int(tokens.sum() - tokens[first].sum()))
