"""The rooms of the project and the imports between them: `python -m tests.support.structure`.

A room is a folder of `pipeline/`, a module that lies loose there, or `jobs/`. Imports are read from
the source, those within functions and under `TYPE_CHECKING` too.
"""

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
FACE = ROOT / "pipeline/__init__.py"
"""What other programs import from. It imports nothing itself until it is asked."""

MODULES = sorted({*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "jobs").rglob("*.py")} - {FACE})

FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"core"}),
    frozenset({"config"}),
    frozenset({"formats"}),
    frozenset({"reading", "store", "engines", "cluster"}),
    frozenset({"prompting"}),
    frozenset({"answering"}),
    frozenset({"flow", "results"}),
    frozenset({"runs"}),
    frozenset({"jobs"}),
)
"""The rooms from the ground up. A room imports only from the floors below its own."""

LONG_FILE = 200
"""Lines above which a file is worth splitting."""


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room(module: str) -> str:
    """`pipeline.store.sink` → `store`; `jobs.run` → `jobs`; the package itself is in `core`."""
    if module == "pipeline":
        return "core"
    first, *rest = module.split(".")
    return rest[0] if first == "pipeline" else first


def floor(module: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room(module) in rooms)


def imported(path: Path) -> set[str]:
    """Modules that a file imports, by their full names."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    plain = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    sources = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    return plain | sources


def own_imports(path: Path) -> set[str]:
    return {m for m in imported(path) if m.split(".")[0] in ("pipeline", "jobs")}


def room_imports() -> Counter[tuple[str, str]]:
    """Import statements between rooms, as (importer, imported)."""
    found: Counter[tuple[str, str]] = Counter()
    for path in MODULES:
        here = room(module_name(path))
        found.update((here, there) for m in own_imports(path) if (there := room(m)) != here)
    return found


def rooms_of_pipeline() -> set[str]:
    """Folders and loose modules at the top of `pipeline/`."""
    top = (ROOT / "pipeline").iterdir()
    return {
        path.stem
        for path in top
        if path.name != "__init__.py" and (path.suffix == ".py" or any(path.rglob("*.py")))
    }


def circle(imports: Mapping[str, set[str]]) -> list[str]:
    """A circle of imports among modules; empty where there is none."""
    done: set[str] = set()

    def search(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for other in sorted(imports.get(module, ())):
            if found := search(other, [*path, module]):
                return found
        done.add(module)
        return []

    return next((found for module in imports if (found := search(module, []))), [])


def function_lengths() -> Iterator[tuple[int, str]]:
    """Lines of every function and method, with its place."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                yield lines, f"{path.relative_to(ROOT)}:{node.name}"


def main() -> None:
    pairs = room_imports()
    lengths = sorted(function_lengths())
    counted = [lines for lines, _ in lengths]
    files = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    long = {path: lines for path, lines in files.items() if lines > LONG_FILE}
    print(f"rooms at the top of pipeline/: {len(rooms_of_pipeline())}")
    print(f"pairs of rooms with an import between them: {len(pairs)}")
    print(f"circle: {circle({module_name(p): own_imports(p) for p in MODULES}) or 'none'}")
    upward = [f"{a} -> {b}" for a, b in pairs if floor(f"pipeline.{b}") >= floor(f"pipeline.{a}")]
    print(f"upward: {', '.join(upward) or 'none'}")
    print(f"functions: {len(counted)}, median {median(counted):.0f} lines, ", end="")
    print(f"90th percentile {counted[len(counted) * 9 // 10]}, longest {lengths[-1]}")
    print(f"files: {len(files)}, {sum(files.values()):,} lines, {len(long)} above {LONG_FILE}")
    for path, lines in sorted(long.items(), key=lambda item: -item[1]):
        print(f"  {path.relative_to(ROOT)}: {lines}")


if __name__ == "__main__":
    main()
