"""Models that are made once for a virtual environment, then found again."""

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

MODELS = Path(sys.prefix) / "models"
"""Where they are; `make clean` removes them with the environment."""


def made_once(name: str, recipe: bytes, make: Callable[[Path], object]) -> Path:
    """The folder `name`, which `make` fills whole or not at all, and anew for another recipe."""
    folder, digest = MODELS / name, hashlib.blake2b(recipe, digest_size=8).hexdigest()
    MODELS.mkdir(parents=True, exist_ok=True)
    with FileLock(MODELS / f"{name}.lock"):
        if _recipe(folder) != digest:
            with tempfile.TemporaryDirectory(dir=MODELS) as scratch:
                made = Path(scratch) / name
                made.mkdir()
                make(made)
                (made / "recipe").write_text(digest, encoding="ascii")
                shutil.rmtree(folder, ignore_errors=True)
                made.rename(folder)
    return folder


def _recipe(folder: Path) -> str | None:
    file = folder / "recipe"
    return file.read_text(encoding="ascii") if file.exists() else None
