"""`tune`'s search, with scripted trials: what it finds, what that costs, what it keeps."""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product
from math import prod
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline.core.filesystem import Storage
from pipeline.runs.tuning.axis import Axis
from pipeline.runs.tuning.halving import FACTOR, Search
from pipeline.runs.tuning.recommendation import recommendation_of, rows_of
from pipeline.store.trials import REFUSED, Trial, TrialFile

START, PRESENT_RATE = 10.0, 4.0

FEW = hypothesis_settings(deadline=None, max_examples=20)

Settings = Mapping[str, Any]


class Landscape:
    """Settings with a rate each, measured with noise; `failing` ones say why and have none."""

    def __init__(
        self,
        factor: Callable[[Settings], float],
        noise: float = 0.0,
        failing: Callable[[Settings], str | None] = lambda _: None,
        changed: Callable[[Settings], bool] = lambda _: False,
        seed: int = 0,
    ) -> None:
        self.factor, self.failing, self.changed = factor, failing, changed
        self.noise, self.random = noise, random.Random(seed)
        self.made: list[Trial] = []
        self.starts_made = 0
        self.dies_after: int | None = None
        self._running: bytes | None = None

    def starts(self, settings: Settings) -> bool:
        return self._running != orjson.dumps(settings, option=orjson.OPT_SORT_KEYS)

    def measure(self, settings: Settings, records: int, turn: int, limit: float) -> Trial:
        if self.dies_after == len(self.made):
            raise KeyboardInterrupt
        start = START if self.starts(settings) else 0.0
        self.starts_made += bool(start)
        why = self.failing(settings)
        trial_engine = orjson.dumps(settings, option=orjson.OPT_SORT_KEYS)
        self._running = None if why else trial_engine
        rate = PRESENT_RATE * self.factor(settings) * self.random.gauss(1, self.noise)
        seconds = records / rate
        if not why and seconds > limit:
            why, seconds = "too slow", limit
        said = ("other" if self.changed(settings) else "same",) * records
        trial = Trial(
            dict(settings),
            records,
            turn,
            seconds=0.0 if why else seconds,
            start=start,
            cost=start + (0.0 if why and why != "too slow" else seconds),
            answers=() if why else said,
            failed=why,
        )
        self.made.append(trial)
        return trial


AXES = (
    Axis("sequences", 16, (4, 8, 32, 64), in_order=True),
    Axis("tokens", 2, (1, 4, 8), in_order=True),
    Axis("block", "middling", ("small", "large")),
)


def in_memory() -> str:
    """A store that no other test has."""
    return f"memory://{uuid4().hex}"


def trials_file(folder: Path | str) -> TrialFile:
    return TrialFile(Storage().at(str(folder)), {"sample": 1})


def search(landscape: Landscape, folder: Path | str, minutes: float = 60, axes=AXES) -> Search:
    made = Search(landscape, trials_file(folder), minutes * 60)
    made.begin(256)
    made.explore(axes)
    return made


def single_peaks(seed: int) -> Callable[[Settings], float]:
    """Rates with one peak along each option, and a little more or less for pairs of values."""
    chance = random.Random(seed)
    own: dict[tuple[str, Any], float] = {}
    for axis in AXES:
        values = sorted({axis.present, *axis.values})
        peak, slope = chance.randrange(len(values)), chance.uniform(0.75, 0.95)
        for at, value in enumerate(values):
            own[axis.option, value] = slope ** abs(at - peak)
    pairs = {
        (one, other): chance.uniform(0.99, 1.01)
        for one, other in product(own, own)
        if one[0] < other[0]
    }

    def factor(settings: Settings) -> float:
        chosen = [(axis.option, axis.value_in(settings)) for axis in AXES]
        rates = [own[item] for item in chosen]
        return prod([*rates, *(pairs.get(pair, 1.0) for pair in product(chosen, chosen))])

    return factor


def plateaus(seed: int) -> Callable[[Settings], float]:
    """The same, but that the first step from the present value gains or loses hardly anything."""
    peaks, chance = single_peaks(seed), random.Random(seed)
    up = chance.random() < 0.5

    def at_rest(axis: Axis, value: Any) -> Any:
        ladder = sorted({axis.present, *axis.values})
        at = ladder.index(axis.present)
        step = ladder[at + 1 : at + 2] if up else ladder[max(at - 1, 0) : at]
        return axis.present if axis.in_order and value in step else value

    def factor(settings: Settings) -> float:
        values = {axis.option: at_rest(axis, axis.value_in(settings)) for axis in AXES}
        return peaks({a.option: values[a.option] for a in AXES if values[a.option] != a.present})

    return factor


def every_setting() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{}]
    for axis in AXES:
        values = (axis.present, *axis.values)
        found = [axis.with_value(settings, value) for settings in found for value in values]
    return found


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_the_best_of_a_landscape_is_found_within_3_percent_in_a_quarter_of_its_grids_time(
    noise: float,
):
    for seed in range(40):
        landscape = Landscape(single_peaks(seed), noise, seed=seed)
        found = search(landscape, in_memory())
        found.confirm()
        rates = [landscape.factor(settings) for settings in every_setting()]
        assert landscape.factor(found.best) >= max(rates) * 0.97
        grid = sum(START + found.records / (PRESENT_RATE * rate) for rate in rates)
        assert sum(trial.cost for trial in landscape.made) <= grid / 4


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_a_step_that_gains_nothing_does_not_hide_one_that_does(noise: float):
    for seed in range(40):
        landscape = Landscape(plateaus(seed), noise, seed=seed)
        found = search(landscape, in_memory())
        assert landscape.factor(found.best) >= max(map(landscape.factor, every_setting())) * 0.97


def test_a_sample_that_takes_less_than_a_start_is_answered_as_a_whole():
    landscape = Landscape(lambda s: 1.0 + len(s))
    found = Search(landscape, trials_file(in_memory()), 3600)
    found.begin(int(START * PRESENT_RATE))
    found.explore(AXES)
    assert {t.records for t in landscape.made if t.settings} == {found.records}


def test_a_gain_beyond_doubt_is_measured_once_more_and_any_other_twice():
    for gain, turns in ((1.1, {0, 1, 2}), (1.5, {0, 1})):
        landscape = Landscape(lambda s, gain=gain: gain if s.get("tokens") == 4 else 1.0, 0.01)
        made = search(landscape, in_memory())
        found = recommendation_of(made, made.confirm())
        assert {t.turn for t in landscape.made} == turns
        assert found.settings["tokens"] == 4
        assert found.noise is not None
        assert 0 < found.noise < 0.1


@pytest.mark.parametrize("seed", range(10))
def test_settings_that_go_on_keep_their_engine(seed: int):
    landscape = Landscape(single_peaks(seed), seed=seed)
    search(landscape, in_memory())
    tried = {orjson.dumps(t.settings, option=orjson.OPT_SORT_KEYS) for t in landscape.made}
    assert landscape.starts_made == len(tried)


@given(seed=st.integers(0, 10**6), minutes=st.floats(0.5, 20), noise=st.floats(0, 0.1))
@FEW
def test_the_time_is_never_exceeded_by_more_than_a_trial(seed: int, minutes: float, noise: float):
    landscape = Landscape(single_peaks(seed), noise, seed=seed)
    made = search(landscape, in_memory(), minutes)
    made.confirm()
    *before, _ = landscape.made
    assert sum(trial.cost for trial in before) <= minutes * 60


@given(seed=st.integers(0, 10**6), dies_after=st.integers(1, 8))
@FEW
def test_a_killed_search_goes_on_without_a_trial_twice_and_ends_as_it_would_have(
    seed: int, dies_after: int
):
    killed, whole = in_memory(), in_memory()
    first, second = (Landscape(single_peaks(seed)) for _ in range(2))
    first.dies_after = dies_after
    with pytest.raises(KeyboardInterrupt):
        search(first, killed)
    resumed = search(second, killed)
    keys = [trial.key for trial in (*first.made, *second.made)]
    assert len(keys) == len(set(keys))
    assert len(first.made) == dies_after
    undisturbed = search(Landscape(single_peaks(seed)), whole)
    assert [t.key for t in resumed.trials] == [t.key for t in undisturbed.trials]
    assert resumed.best == undisturbed.best


def test_a_finished_search_starts_nothing_when_it_is_repeated(tmp_path: Path):
    first = search(Landscape(single_peaks(1)), tmp_path)
    landscape = Landscape(single_peaks(1))
    assert search(landscape, tmp_path).best == first.best
    assert landscape.made == []


def test_a_torn_last_line_costs_that_trial_alone(tmp_path: Path):
    search(Landscape(single_peaks(1)), tmp_path)
    (file,) = (tmp_path / "tuning").iterdir()
    content = file.read_bytes()
    file.write_bytes(content[:-20])
    landscape = Landscape(single_peaks(1))
    search(landscape, tmp_path)
    assert len(landscape.made) == 1
    assert file.read_bytes().count(b"\n") == content.count(b"\n")


@given(failing=st.sets(st.sampled_from([("tokens", 4), ("block", "large"), ("sequences", 32)])))
@FEW
def test_settings_that_fail_are_rows_with_their_reasons_and_end_nothing(
    failing: set[tuple[str, Any]],
):
    def why(settings: Settings) -> str | None:
        return "no memory" if failing & set(settings.items()) else None

    landscape = Landscape(single_peaks(3), failing=why)
    made = search(landscape, in_memory())
    rows = rows_of(made, recommendation_of(made, made.confirm()))
    failed = [row for row in rows if row.outcome == "failed"]
    assert {row.trial.failed for row in failed} <= {"no memory"}
    assert all(failing & set(row.trial.settings.items()) for row in failed)
    assert len(failed) >= len(failing)
    assert why(made.best) is None


def test_the_jobs_own_settings_are_the_first_row_and_measured_with_the_whole_sample():
    made = search(Landscape(single_peaks(2)), in_memory())
    first, *others = rows_of(made, recommendation_of(made, made.confirm()))
    assert (first.trial.settings, first.outcome, first.trial.records) == ({}, "present", 256)
    assert len(others) > 3
    assert all(row.trial.settings for row in others)


def test_what_is_slow_on_a_part_of_the_sample_does_not_get_the_rest():
    landscape = Landscape(lambda s: 0.7 if s else 1.0)
    made = search(landscape, in_memory())
    assert {t.records for t in landscape.made if t.settings} == {256 // FACTOR}
    found = recommendation_of(made, made.confirm())
    assert found.settings == {}
    assert "the fastest of those tried" in found.said


def test_a_gain_within_the_noise_is_not_recommended():
    class Drifting(Landscape):
        """Each further turn is a tenth slower than the one before."""

        def measure(self, settings: Settings, records: int, turn: int, limit: float) -> Trial:
            self.drift = 0.9 ** max(turn - 1, 0)
            return super().measure(settings, records, turn, limit)

    landscape = Drifting(lambda s: 1.06 if s == {"block": "large"} else 1.0)
    plain = landscape.factor
    landscape.drift = 1.0
    landscape.factor = lambda s: plain(s) * landscape.drift
    made = search(landscape, in_memory())
    found = recommendation_of(made, made.confirm())
    assert made.best == {"block": "large"}
    assert found.settings == {}
    assert found.noise == pytest.approx(1 / 0.9 - 1)
    assert "noise" in found.said


def test_a_gain_beyond_the_noise_is_recommended_with_both():
    made = search(Landscape(lambda s: 1.5 if s == {"tokens": 4} else 1.0), in_memory())
    found = recommendation_of(made, made.confirm())
    assert found.settings == {"tokens": 4}
    assert found.gain == pytest.approx(1.5)
    assert found.noise == pytest.approx(0)


@pytest.mark.parametrize(
    ("effect", "changes", "outcome"),
    [
        ("none", True, "recommended"),
        ("answers", False, "recommended"),
        ("answers", True, "choice"),
        ("sampling", False, "choice"),
    ],
)
def test_what_may_change_answers_is_recommended_only_if_it_changes_none(
    effect: Any, changes: bool, outcome: str
):
    axes = (Axis("type", "auto", ("fp8",), effect),)
    landscape = Landscape(
        lambda s: 1.5 if s else 1.0, changed=lambda s: changes and bool(s), seed=1
    )
    made = search(landscape, in_memory(), axes=axes)
    _, row = rows_of(made, recommendation_of(made, made.confirm()))
    assert row.outcome == outcome
    assert row.differing == (256 if changes else 0)


def test_settings_that_refuse_records_are_not_the_fastest():
    class Refusing(Landscape):
        def measure(self, settings: Settings, records: int, turn: int, limit: float) -> Trial:
            trial = super().measure(settings, records, turn, limit)
            return replace(trial, answers=(REFUSED, *trial.answers[1:])) if settings else trial

    made = search(Refusing(lambda s: 2.0 if s else 1.0), in_memory())
    assert made.best == {}


def test_a_sample_shrinks_until_the_time_is_worth_a_search():
    long = search(Landscape(lambda _: 1.0), in_memory(), 60)
    short = search(Landscape(lambda _: 1.0), in_memory(), 5)
    assert (long.records, short.records) == (256, 64)


def test_without_time_for_any_other_settings_it_says_so():
    made = search(Landscape(single_peaks(1)), in_memory(), 0.5)
    assert [row.outcome for row in rows_of(made, recommendation_of(made, []))] == ["present"]
    assert "no time to try any others" in recommendation_of(made, []).said
    assert made.untried(AXES) == list(AXES)


def test_without_time_to_measure_again_nothing_is_recommended():
    landscape = Landscape(lambda s: 1.5 if s else 1.0)
    made = search(landscape, in_memory())
    found = recommendation_of(made, [])
    assert found.settings == {}
    assert "--minutes" in found.said


def test_a_job_whose_own_settings_fail_is_told_what_works():
    landscape = Landscape(
        lambda _: 1.0, failing=lambda s: None if s.get("tokens") == 1 else "no memory"
    )
    made = search(landscape, in_memory())
    found = recommendation_of(made, made.confirm())
    assert found.settings == {"tokens": 1}
    assert "no memory" in found.said
    first, *_ = rows_of(made, found)
    assert (first.trial.settings, first.outcome) == ({}, "failed")
