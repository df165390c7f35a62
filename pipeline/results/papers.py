"""The rows of tables by paper: a record without a paper stands alone, whatever its id."""

import pyarrow as pa
import pyarrow.compute as pc

ALONE = "\0"
"""Ends the key of a record without a paper: right behind that of a paper of the same name."""


def paper_key(paper_id: str | None, record_id: str) -> str:
    return paper_id or record_id + ALONE


def paper_keys(paper_ids: pa.Array, record_ids: pa.Array) -> pa.Array:
    """The same for columns."""
    alone = pc.binary_join_element_wise(record_ids, ALONE, "")
    return pc.if_else(pc.equal(pc.coalesce(paper_ids, ""), ""), alone, paper_ids)


def paper_name(key: str) -> str:
    """What a person is shown."""
    return key.removesuffix(ALONE)
