"""What an answer counts as, yes or no: its *conversion*, which every figure depends on."""

from typing import Final, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.errors import ConfigError, nearest

Conversion: TypeAlias = Literal["answers_question", "p_answered", "hedged=yes", "hedged=no"]

DESCRIBED: Final[dict[Conversion, str]] = {
    "answers_question": "the column answers_question as it is",
    "p_answered": "yes where p_answered is at least 0.5",
    "hedged=yes": "by stance: answered and hedged are yes, abstained is no",
    "hedged=no": "by stance: answered is yes, hedged and abstained are no",
}

MISSING, NO, YES, UNSURE = -1, 0, 1, 2
WORDS: Final = {NO: "no", YES: "yes", UNSURE: "unsure"}
"""What a code stands for; `MISSING` has no word, and never becomes a no."""

Codes: TypeAlias = npt.NDArray[np.int8]


def check_conversion(name: str | None) -> Conversion | None:
    """The conversion of that name. Raises `ConfigError`."""
    for known in get_args(Conversion):
        if name == known:
            return known  # type: ignore[no-any-return]
    if name is None:
        return None
    raise ConfigError(f"--conversion {name}: not known{nearest(name, get_args(Conversion))}")


def default_conversion(rows: pa.Table) -> Conversion:
    """`answers_question` if any answer has it, else the stance."""
    has_any = rows["answers_question"].null_count < rows.num_rows
    return "answers_question" if has_any else "hedged=no"


def convert(rows: pa.Table, conversion: Conversion) -> Codes:
    """What each row with the columns of answers counts as; an empty answer is missing."""
    match conversion:
        case "answers_question":
            codes = codes_of(rows["answers_question"])
        case "p_answered":
            codes = _codes(pc.cast(pc.greater_equal(rows["p_answered"], 0.5), pa.int8()))
        case "hedged=yes":
            codes = _looked_up(rows["stance"], {"answered": YES, "hedged": YES, "abstained": NO})
        case "hedged=no":
            codes = _looked_up(rows["stance"], {"answered": YES, "hedged": NO, "abstained": NO})
    empty = pc.equal(pc.fill_null(rows["word_count"], 0), 0).to_numpy(zero_copy_only=False)
    codes[empty] = MISSING
    return codes


def said(rows: pa.Table, conversion: Conversion) -> pa.ChunkedArray:
    """What each row says before the conversion, as text."""
    column = conversion if conversion in rows.column_names else "stance"
    return rows[column].cast(pa.string())


def codes_of(values: pa.ChunkedArray | pa.Array) -> Codes:
    """The codes of `yes`, `no`, `unsure`; all other values are missing."""
    return _looked_up(
        pc.utf8_lower(pc.utf8_trim_whitespace(values)), {word: c for c, word in WORDS.items()}
    )


def words_of(codes: Codes) -> pa.Array:
    """The other way: null where nothing was said."""
    return pa.array(WORDS.values(), pa.string()).take(
        pa.array(codes, mask=codes == MISSING, type=pa.int8())
    )


def _looked_up(values: pa.ChunkedArray | pa.Array, codes: dict[str, int]) -> Codes:
    place = pc.index_in(values, value_set=pa.array(codes, pa.string()))
    return _codes(pa.array([*codes.values()], pa.int8()).take(place))


def _codes(values: pa.ChunkedArray | pa.Array) -> Codes:
    filled = pc.fill_null(values, pa.scalar(MISSING, pa.int8()))
    return np.array(filled.to_numpy(), dtype=np.int8)  # a copy: Arrow's own cannot be written
