"""The checks that stored answers did not pass."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def missed_checks(checks: pa.ListArray) -> pa.ListArray:
    """For each answer the names of the checks it missed, at any level, from the `checks` column."""
    results = pc.list_flatten(checks)
    missed = pc.invert(pc.struct_field(results, "passed"))
    names = pc.struct_field(results, "name").filter(missed)
    rows = pc.list_parent_indices(checks).filter(missed).to_numpy(zero_copy_only=False)
    sizes = np.bincount(rows, minlength=len(checks))
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), names)
