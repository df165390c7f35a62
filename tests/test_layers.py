"""The house stands as its plan says: imports run one way, and few places know Ray."""

from pathlib import Path

import pytest

from tests.support.structure import (
    FLOORS,
    MODULES,
    ROOT,
    circle,
    floor,
    imported,
    module_name,
    own_imports,
    room,
    room_imports,
    rooms_of_pipeline,
)

KNOW_RAY = {
    "cluster/identities.py",
    "cluster/limit.py",
    "cluster/placement.py",
    "cluster/ray_data.py",
    "cluster/reporter.py",
    "cluster/session.py",
    "runs/metrics.py",
}


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_room_imports_only_from_its_own_and_from_floors_below(path: Path):
    name = module_name(path)
    above = {m for m in own_imports(path) if room(m) != room(name) and floor(m) >= floor(name)}
    assert above == set()


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_only_the_cluster_room_and_the_metrics_know_ray(path: Path):
    if any(m == "ray" or m.startswith("ray.") for m in imported(path)):
        assert str(path.relative_to(ROOT / "pipeline")) in KNOW_RAY


def test_the_rooms_are_those_of_the_floors_and_few_know_each_other():
    assert rooms_of_pipeline() | {"jobs"} == set().union(*FLOORS)
    assert len(room_imports()) <= 55


def test_no_modules_import_each_other_in_a_circle():
    assert circle({module_name(path): own_imports(path) for path in MODULES}) == []


def test_the_tests_have_the_rooms_of_what_they_test():
    rooms = {p.parent for p in (ROOT / "tests/pipeline").rglob("test_*.py")}
    assert {p for p in rooms if not (ROOT / p.relative_to(ROOT / "tests")).is_dir()} == set()
