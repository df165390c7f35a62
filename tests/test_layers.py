"""The house stands as its plan says: imports run one way, and few places know Ray."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted([*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "jobs").rglob("*.py")])

FLOORS = [
    {"scrubbing", "suggest", "model", "content", "names", "threads", "bucket", "grace"},
    {"errors"},
    {"config", "faults", "storage", "tables"},
    {"tokens", "checks", "totals"},
    {"selection", "headway"},
    {"reading", "prompting", "engines", "store"},
    {"answering", "export", "difference", "prefixes", "notify", "roll"},
    {"stages", "outlook", "report"},
    {"cluster"},
    {"replicas", "allowance", "metrics"},
    {"flow", "rechecking", "watch"},
    {"runs", "doctor"},
    {"jobs"},
]
KNOW_RAY = {
    "reading/source.py",
    "flow.py",
    "cluster.py",
    "replicas.py",
    "allowance.py",
    "metrics.py",
    "rechecking.py",
}


def room(name: str) -> str:
    """`pipeline.store.sink` → `store`; `jobs.run` → `jobs`."""
    parts = name.split(".")
    return parts[1] if parts[0] == "pipeline" and len(parts) > 1 else parts[0]


def floor(name: str) -> int:
    return next(i for i, rooms in enumerate(FLOORS) if room(name) in rooms)


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    plain = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    sources = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    return plain | sources


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_room_imports_only_from_its_own_and_from_floors_below(path: Path):
    name = module_name(path)
    if path.parent.name == "pipeline" and path.name == "__init__.py":
        name = "pipeline.errors"  # the package itself stands on the ground floor
    ours = {m for m in imported(path) if m.startswith(("pipeline.", "jobs."))}
    above = {m for m in ours if room(m) != room(name) and floor(m) >= floor(name)}
    assert above == set()


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_ray_is_known_where_blocks_and_clusters_are_and_nowhere_else(path: Path):
    if any(m == "ray" or m.startswith("ray.") for m in imported(path)):
        assert str(path.relative_to(ROOT / "pipeline")) in KNOW_RAY
