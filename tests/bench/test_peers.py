"""Packages of other projects for the bench."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import contenders, peers
from tests.bench.engines import Rounds, _at_hand, _peers


@pytest.fixture
def out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No packages are there, and none can come from outside."""
    monkeypatch.setattr(peers, "FOLDER", tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    peers.folder.cache_clear()
    yield
    peers.folder.cache_clear()


def test_every_way_of_another_project_can_be_measured_and_is_described() -> None:
    assert set(peers.PINNED) <= set(contenders.WAYS)
    assert set(peers.PINNED) == set(peers.WAYS)


@pytest.mark.usefixtures("out_of_reach")
def test_a_way_whose_packages_cannot_be_had_is_left_out_and_the_page_says_how_to_have_them(
    tmp_path: Path,
) -> None:
    assert not _at_hand("saturate")
    assert _at_hand("LLM.generate")
    assert list(tmp_path.iterdir()) == []  # nothing half installed

    (told,) = _peers(Rounds([{"LLM.generate": None}]))
    assert f"pip install --no-deps --target {tmp_path}/saturate==0.2.0 saturate==0.2.0" in told


@pytest.mark.usefixtures("out_of_reach")
def test_packages_that_are_there_are_not_asked_for_again(tmp_path: Path) -> None:
    place = tmp_path / peers.PINNED["saturate"][0]
    place.mkdir()

    assert peers.folder("saturate") == place
