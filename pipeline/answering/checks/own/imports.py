"""What a check's file may import: what is installed, and nothing that lies beside it."""

import ast
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from importlib.metadata import packages_distributions
from pathlib import Path

from pipeline.core.errors import ConfigError

_WAY_OUT = "a check is one file, and only that file travels with a job"


def check_imports(path: str, source: str) -> None:
    """Raises `ConfigError`, with file and line, for an import of another file of the user's."""
    for line, name in _imported(path, source):
        if not name:
            raise ConfigError(f"{path}:{line}: a relative import; {_WAY_OUT}")
        if _is_beside(Path(path).parent, name):
            raise ConfigError(
                f"{path}:{line}: {name} is a file of yours; {_WAY_OUT}: copy what it needs, or "
                f"install {name} as a package"
            )


def _imported(path: str, source: str) -> Iterator[tuple[int, str]]:
    """Line and package of every import; no package for a relative one."""
    try:
        tree = ast.parse(source, path)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # whoever compiles it says what is wrong
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "" if node.level else (node.module or "").partition(".")[0]


def _is_beside(folder: Path, name: str) -> bool:
    """Whether a module is a file in the check's folder or the current one, and not installed."""
    if name in (*sys.stdlib_module_names, "pipeline"):
        return False
    near = [str(folder.absolute()), str(Path.cwd())]
    if PathFinder.find_spec(name, near) is None:
        return False
    installed = [at for at in sys.path if at and str(Path(at).absolute()) not in near]
    return PathFinder.find_spec(name, installed) is None and name not in packages_distributions()
