"""Models that are made once for a virtual environment, then found again."""

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

MODELS = Path(sys.prefix) / "models"
"""Where they are: `make clean` removes them with the environment."""


def made_once(name: str, make: Callable[[Path], object], recipe: bytes) -> Path:
    """The folder of a model that `make` writes into an empty folder, whole or not at all.

    Another recipe is another folder; what an earlier one made is removed.
    """
    wanted = MODELS / f"{name}-{hashlib.blake2b(recipe, digest_size=6).hexdigest()}"
    MODELS.mkdir(parents=True, exist_ok=True)
    with FileLock(MODELS / f"{name}.lock"):
        if not wanted.exists():
            for old in MODELS.glob(f"{name}-*"):
                shutil.rmtree(old)
            made = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=MODELS))
            make(made)
            made.chmod(0o755)
            made.rename(wanted)
    return wanted
