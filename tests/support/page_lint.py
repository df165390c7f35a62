"""Types and lints the scripts and styles of pages: TypeScript by their JSDoc, and Biome.

`python -m tests.support.page_lint` exits with 1 if either finds anything.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

from pipeline.results.pages.page import SCRIPTS
from tests.support.jobs import ROOT

TOOLS = ("typescript@7.0.2", "@biomejs/biome@2.6.8")
FOLDER = ROOT / ".cache" / "page-lint"
ASSETS = ROOT / "pipeline" / "results" / "pages" / "assets"

COMPILER = {
    "allowJs": True,
    "checkJs": True,
    "noEmit": True,
    "strict": True,
    "noUnusedLocals": True,
    "target": "ES2023",
    "lib": ["ES2023", "DOM", "DOM.Iterable"],
    "types": [],
}
RULES = {
    # A page's scripts are one program: what one declares, another uses, as TypeScript knows.
    "correctness": {"noUnusedVariables": "off"},
    "suspicious": {"noRedundantUseStrict": "off"},
    "complexity": {"noImportantStyles": "off"},  # print overrides what a script has set
    "style": {"noDescendingSpecificity": "off"},
}


def main() -> int:
    if not shutil.which("npm"):
        sys.stderr.write("no npm: scripts and styles of pages are not linted\n")
        return 0
    tools = installed()
    failures = [_types(tools / "tsc", page) for page, scripts in SCRIPTS.items() if scripts]
    return int(any([*failures, _lint(tools / "biome")]))


def installed() -> Path:
    """The folder of the tools' programs, installed when first asked for."""
    programs = FOLDER / "node_modules" / ".bin"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with FileLock(FOLDER / "lock"):
        if not programs.exists():
            command = ["npm", "install", "--silent", "--no-audit", "--prefix", str(FOLDER), *TOOLS]
            subprocess.run(command, check=True)
    return programs


def _types(tsc: Path, page: str) -> int:
    config = FOLDER / f"{page}.json"
    scripts = [str(ASSETS / name) for name in SCRIPTS[page]]
    config.write_text(json.dumps({"compilerOptions": COMPILER, "files": scripts}))
    return subprocess.run([tsc, "-p", config], check=False).returncode


def _lint(biome: Path) -> int:
    rules = {"preset": "recommended", **RULES}
    off = {"enabled": False}
    config = {"linter": {"rules": rules}, "formatter": off, "assist": off}
    (FOLDER / "biome.json").write_text(json.dumps(config))
    files = sorted([*ASSETS.glob("*.js"), *ASSETS.glob("*.css")])
    command = [biome, "lint", "--error-on-warnings", f"--config-path={FOLDER}", *files]
    return subprocess.run(command, check=False, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
