"""Cohen's and Fleiss' κ, raw agreement and shares, with intervals by whole papers.

Answers about one paper depend on each other, so that intervals are bootstraps over papers: each
resample draws as many papers as there are, with replacement, and all that was said about them. The
κ of the figures themselves is that of statsmodels; for the resamples the same formulas stand here
for arrays, as a library that takes one table at a time would need minutes for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.results.agreement.conversion import NO, UNSURE, YES
from pipeline.results.agreement.raters import Numbers
from pipeline.results.agreement.ratings import Cells

Floats: TypeAlias = npt.NDArray[np.float64]

RESAMPLES = 1000
LEVEL = 95
"""Per cent of the resamples that lie in an interval."""

_AT_ONCE = 5_000_000
"""Papers drawn at once, which bounds memory."""


class Figure(NamedTuple):
    """A number and its interval; None where it is not defined, as κ is where all say the same."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.value is None:
            return "–"
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, slots=True)
class Agreed:
    """How far raters agree on what all of them decide.

    `counts` are, of two raters: both no, only the second yes, only the first yes, both yes; of
    more: how many of these things have 0, 1, … and all raters who say yes.
    """

    n: int
    kappa: Figure
    agreement: Figure  # the share of things of which all say the same
    yes_share: float | None  # of all that they say
    counts: tuple[int, ...]


class Sums(NamedTuple):
    """Sums over what was rated, with one row for all questions and one for each; and the same of
    each resample, where there are two papers at least.
    """

    whole: Floats
    resampled: Floats | None


def of_two(cells: Cells, questions: int, seed: int) -> list[Agreed]:
    """Two raters' agreement, with Cohen's κ: over all questions, then question by question."""
    one, other = cells.codes
    both = _decided(one) & _decided(other)
    column = 2 * one[both].astype(np.int64) + other[both]
    sums = _summed(cells, both, column[:, None] == np.arange(4), questions, seed)
    kappas = _figures([_cohen(row) for row in sums.whole], sums, kappa_of_tables)
    return _agreed(sums, kappas, np.array([0, 1, 1, 2]))


def of_several(cells: Cells, questions: int, seed: int) -> list[Agreed]:
    """Several raters' agreement, with Fleiss' κ: over all questions, then question by question."""
    codes = np.stack(list(cells.codes))
    complete = _decided(codes).all(axis=0)
    yes = (codes[:, complete] == YES).sum(axis=0)
    number = np.arange(len(codes) + 1)
    sums = _summed(cells, complete, yes[:, None] == number, questions, seed)
    kappas = _figures([_fleiss(row) for row in sums.whole], sums, kappa_of_counts)
    return _agreed(sums, kappas, number)


def _agreed(sums: Sums, kappas: Sequence[Figure], yes: Numbers) -> list[Agreed]:
    """`yes`: how many of the raters say yes in each column of the sums."""
    return [
        Agreed(
            int(row.sum()),
            kappa,
            same,
            _share(row @ yes, row.sum() * yes[-1]),
            tuple(map(int, row)),
        )
        for row, kappa, same in zip(
            sums.whole,
            kappas,
            _figures(agreement_of_tables(sums.whole), sums, agreement_of_tables),
            strict=True,
        )
    ]


def yes_shares(cells: Cells, questions: int, seed: int) -> list[Figure]:
    """The share of yes of what one rater decides: over all questions, then question by question."""
    (codes,) = cells.codes
    decided = _decided(codes)
    sums = _summed(cells, decided, codes[decided][:, None] == np.arange(2), questions, seed)
    return _figures(_share_of_yes(sums.whole), sums, _share_of_yes)


def counts(codes: Any) -> dict[str, int]:
    """How often a rater says what."""
    return {
        "yes": int((codes == YES).sum()),
        "no": int((codes == NO).sum()),
        "unsure": int((codes == UNSURE).sum()),
    }


def kappa_of_tables(tables: Floats) -> Floats:
    """Cohen's κ of rows of 4 counts: both no, only the second yes, only the first yes, both yes."""
    n = tables.sum(axis=-1)
    first, second = tables[..., 2] + tables[..., 3], tables[..., 1] + tables[..., 3]
    with np.errstate(all="ignore"):
        expected = (first * second + (n - first) * (n - second)) / n**2
        return _kappa(agreement_of_tables(tables), expected)


def agreement_of_tables(tables: Floats) -> Floats:
    """The share of the first and the last count: none says yes, or all do."""
    with np.errstate(all="ignore"):
        return np.asarray((tables[..., 0] + tables[..., -1]) / tables.sum(axis=-1))


def kappa_of_counts(tables: Floats) -> Floats:
    """Fleiss' κ of rows of counts: how many things have 0, 1, … and all raters who say yes."""
    raters = tables.shape[-1] - 1
    yes = np.arange(raters + 1)
    same = (yes * (yes - 1) + (raters - yes) * (raters - yes - 1)) / (raters * (raters - 1))
    with np.errstate(all="ignore"):
        n = tables.sum(axis=-1)
        share = tables @ yes / (n * raters)
        return _kappa(tables @ same / n, share**2 + (1 - share) ** 2)


def _kappa(observed: Floats, expected: Floats) -> Floats:
    return np.where(expected < 1, (observed - expected) / (1 - expected), np.nan)


def _share_of_yes(tables: Floats) -> Floats:
    with np.errstate(all="ignore"):
        return np.asarray(tables[..., 1] / tables.sum(axis=-1))


def _cohen(row: Floats) -> float:
    from statsmodels.stats.inter_rater import cohens_kappa

    if not row.any():
        return float("nan")
    with np.errstate(all="ignore"):
        return float(cohens_kappa(row.reshape(2, 2), return_results=False))


def _fleiss(row: Floats) -> float:
    from statsmodels.stats.inter_rater import fleiss_kappa

    if not row.any():
        return float("nan")
    yes = np.repeat(np.arange(len(row)), row.astype(np.int64))
    with np.errstate(all="ignore"):
        return float(fleiss_kappa(np.column_stack([len(row) - 1 - yes, yes])))


def _decided(codes: Any) -> Any:
    return (codes == YES) | (codes == NO)


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def _figures(values: Sequence[float] | Floats, sums: Sums, of: Any) -> list[Figure]:
    """Numbers with the intervals that `of` gives over the resamples."""
    if sums.resampled is None:
        return [Figure(_number(value)) for value in values]
    drawn = of(sums.resampled)
    edge = (100 - LEVEL) / 2
    with np.errstate(all="ignore"):
        bounds = _percentiles(drawn, [edge, 100 - edge])
    return [
        Figure(number, _number(low), _number(high)) if number is not None else Figure(None)
        for number, low, high in zip(map(_number, values), *bounds, strict=True)
    ]


def _percentiles(drawn: Floats, at: list[float]) -> Floats:
    import warnings

    with warnings.catch_warnings():  # a question of which no resample has a value
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanpercentile(drawn, at, axis=0))


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _summed(cells: Cells, mask: Any, columns: Any, questions: int, seed: int) -> Sums:
    """Sums of columns over the masked cells, by question, and of resamples of their papers."""
    from scipy.sparse import csr_array

    _, paper = np.unique(cells.paper[mask], return_inverse=True)
    rated, column = np.nonzero(columns)
    width = columns.shape[1]
    by_question = questions > 1
    place = column + width * (1 + cells.question[mask][rated] if by_question else 0)
    papers = int(paper.max(initial=-1)) + 1
    shape = (papers, width * (1 + questions if by_question else 1))
    by_paper = csr_array((np.ones(len(rated)), (paper[rated], place)), shape=shape)
    whole = _with_all(np.asarray(by_paper.sum(axis=0), np.float64).reshape(-1, width))
    if papers < 2:
        return Sums(whole, None)
    drawn = np.concatenate([weights @ by_paper for weights in _resamples(papers, seed)])
    return Sums(whole, _with_all(drawn.reshape(RESAMPLES, -1, width)))


def _with_all(sums: Floats) -> Floats:
    """Sums by question, with those over all questions in the first place."""
    if sums.shape[-2] > 1:
        sums[..., 0, :] = sums[..., 1:, :].sum(axis=-2)
    return sums


def _resamples(papers: int, seed: int) -> Any:
    """How often each paper is drawn in each resample, some resamples at a time."""
    random = np.random.default_rng(seed)
    step = max(1, _AT_ONCE // papers)
    for start in range(0, RESAMPLES, step):
        drawn = random.integers(papers, size=(min(step, RESAMPLES - start), papers))
        yield np.stack([np.bincount(row, minlength=papers) for row in drawn]).astype(np.float64)
