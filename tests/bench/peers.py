"""Packages of other projects that the bench compares with, at the versions it was made for.

Each has a folder of its own, without what it depends on: beside it a way finds the tested versions
of vLLM, torch and all else, whatever limits the package states.
"""

import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from tests.support.jobs import ROOT

FOLDER = Path(".cache") / "peers"
"""In the repository."""

PINNED = {
    "daft": ("daft==0.7.26",),
    "datatrove": (
        "datatrove==0.10.1",
        "humanize==4.17.0",
        "multiprocess==0.70.19",
        "aiofiles==25.1.0",
    ),
    "saturate": ("saturate==0.2.0",),
}
"""Requirements by way; the first is the package itself."""

WAYS = {
    "daft": "`prompt` with the provider `vllm-prefix-caching`, which buckets prompts by prefix",
    "datatrove": "`InferenceRunner` with a server of vLLM, 500 requests at a time",
    "saturate": "`pump` with a server of vLLM, as many requests at a time as it finds best",
}
"""What is measured of each."""


@cache
def folder(way: str) -> Path | None:
    """The packages of a way, installed when first asked for; None if pip cannot install them."""
    pins = PINNED[way]
    place = ROOT / FOLDER / pins[0]
    if not place.exists() and not _install(pins, place):
        print(f"{way}: left out; `{command(way)}` fails", file=sys.stderr, flush=True)
        return None
    return place


def command(way: str) -> str:
    """What installs the packages of a way by hand."""
    pins = PINNED[way]
    return f"pip install --no-deps --target {FOLDER / pins[0]} {' '.join(pins)}"


def _install(pins: tuple[str, ...], place: Path) -> bool:
    """Whether they are there now, all of them: the folder appears whole."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
        made = Path(scratch) / "made"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
        done = subprocess.run([*pip, str(made), *pins], stdout=sys.stderr, check=False)
        if done.returncode == 0:
            shutil.move(made, place)
    return done.returncode == 0
