"""What an answer counts as, yes or no: its *conversion*, which every figure depends on."""

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.errors import ConfigError, nearest
from pipeline.core.text import harmless
from pipeline.store.corrections import OF_CHECK

Conversion: TypeAlias = str
"""A key of `DESCRIBED`, or `check:<name>`: then what is rated is not whether an answer answers, but
whether that check should flag it."""

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


_FLAGS: Final = {"passed": NO, "missed": YES, "unsure": UNSURE}


def check_conversion(name: str | None) -> Conversion | None:
    """The conversion of that name. Raises `ConfigError`."""
    if name is None or name in DESCRIBED or name.startswith(OF_CHECK):
        return name
    near = nearest(name, [*DESCRIBED, f"{OF_CHECK}<name>"])
    raise ConfigError(f"--conversion {harmless(name)}: not known{near}")


def described(conversion: Conversion) -> str:
    check = check_of(conversion)
    return f"yes where the check {check} is missed" if check else DESCRIBED[conversion]


def check_of(conversion: Conversion) -> str | None:
    """The check that a conversion is about, if it is about one."""
    return conversion.removeprefix(OF_CHECK) if conversion.startswith(OF_CHECK) else None


def code_of(value: str, conversion: Conversion) -> int:
    """What a person's value of a correction counts as."""
    codes = _FLAGS if check_of(conversion) else {word: code for code, word in WORDS.items()}
    return codes[value]


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
        case _:
            codes = _flags(rows, conversion.removeprefix(OF_CHECK))
    codes[is_empty(rows)] = MISSING
    return codes


def is_empty(rows: pa.Table) -> npt.NDArray[np.bool_]:
    """Which answers have no words."""
    words = pc.fill_null(rows["word_count"], 0)
    return np.asarray(pc.equal(words, 0).to_numpy(zero_copy_only=False), np.bool_)


def _flags(rows: pa.Table, check: str) -> Codes:
    lists = rows["checks"].combine_chunks()
    results = pc.list_flatten(lists)
    of_check = pc.equal(pc.struct_field(results, "name"), check)
    passed = pc.struct_field(results, "passed").filter(of_check).to_numpy(zero_copy_only=False)
    at = pc.list_parent_indices(lists).filter(of_check).to_numpy(zero_copy_only=False)
    codes = np.full(rows.num_rows, MISSING, np.int8)
    codes[at] = np.where(passed, NO, YES)
    return codes


def said(rows: pa.Table, conversion: Conversion, codes: Codes) -> pa.ChunkedArray | pa.Array:
    """What each row says before the conversion, as text."""
    if check_of(conversion):
        words = {code: word for word, code in _FLAGS.items()}
        return pa.array([words.get(code) for code in codes.tolist()], pa.string())
    return rows[conversion if conversion in rows.column_names else "stance"].cast(pa.string())


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
