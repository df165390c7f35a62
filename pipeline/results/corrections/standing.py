"""Which corrections count.

A correction counts if the answer that counts in the store is the text that the person saw, and if
the same person has said nothing newer about the same field of it. One of another text is *stale*:
it is kept, listed, and counts again if that text comes back.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.filesystem import Location
from pipeline.store.corrections import Correction, answer_sha256, read_corrections
from pipeline.store.reader import BY_GENERATION, read_rows

AnswerKey: TypeAlias = tuple[str, str]
"""`record_id` and `generation_key`."""

UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Standing:
    """The corrections of a store. Those that count come by answer, then by field, oldest first."""

    counting: Mapping[AnswerKey, Mapping[str, Sequence[Correction]]]
    stale: Sequence[Correction]


NONE = Standing({}, ())


def standing(store: Location) -> Standing:
    """What the store's corrections are worth today. Raises `StorageError`."""
    corrections = read_corrections(store)
    return stand(corrections, texts_of(store, corrections)) if corrections else NONE


def stand(corrections: Iterable[Correction], texts: Mapping[AnswerKey, str]) -> Standing:
    """The same for corrections in order of time, and the digests of the answers that count."""
    newest: dict[tuple[str, str, str, str], Correction] = {}
    stale = []
    for c in corrections:
        if texts.get((c.record_id, c.generation_key)) != c.answer_sha256:
            stale.append(c)
            continue
        place = (c.record_id, c.generation_key, c.field, c.annotator)
        newest.pop(place, None)
        newest[place] = c
    counting: dict[AnswerKey, dict[str, list[Correction]]] = defaultdict(dict)
    for c in newest.values():
        counting[c.record_id, c.generation_key].setdefault(c.field, []).append(c)
    return Standing(counting, stale)


def texts_of(store: Location, corrections: Iterable[Correction]) -> dict[AnswerKey, str]:
    """The digests of the answers that count of the records that are corrected."""
    ids = pa.array({c.record_id for c in corrections}, pa.string())
    texts = {}
    for rows in read_rows(store, BY_GENERATION, ("record_id", "generation_key", "answer")):
        wanted = rows.filter(pc.is_in(rows["record_id"], ids))
        for record_id, key, answer in zip(*(c.to_pylist() for c in wanted.columns), strict=True):
            texts[record_id, key] = answer_sha256(answer)
    return texts


def consensus(said: Sequence[Correction]) -> str:
    """What people say of one field together: most of them, `unsure` where as many say another.

    Of answers in people's own words, the newest.
    """
    if said[-1].field == "answer":
        return said[-1].value
    (value, votes), *others = Counter(c.value for c in said).most_common(2)
    return UNSURE if others and others[0][1] == votes else value
