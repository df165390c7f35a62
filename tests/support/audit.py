"""Looks the pins of constraints.txt up among known vulnerabilities: `make audit`.

pip-audit asks PyPI's advisories. Where it has no answer for a pin, as on a machine that reaches a
mirror alone, that is said, and is no failure; a vulnerability is one.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"

Finding = dict[str, object]


def audited(constraints: Path = CONSTRAINTS) -> list[Finding]:
    """What pip-audit says of every pin; a pin that it could not look up has a `skip_reason`."""
    asked = [sys.executable, "-m", "pip_audit", "--requirement", str(constraints)]
    options = ["--no-deps", "--disable-pip", "--progress-spinner=off", "--format=json"]
    done = subprocess.run([*asked, *options], capture_output=True, text=True, check=False)
    if not done.stdout:
        sys.exit(f"pip-audit: {done.stderr.strip()}")
    found: list[Finding] = json.loads(done.stdout)["dependencies"]
    return found


def verdict(findings: Sequence[Finding]) -> tuple[int, str]:
    """Exit code and the lines to print."""
    unknown = [f for f in findings if "skip_reason" in f]
    wrong = [f for f in findings if f.get("vulns")]
    lines = [
        f"{f['name']} {f['version']}: {v['id']}, mended in {', '.join(v['fix_versions']) or 'none'}"
        for f in wrong
        for v in f["vulns"]
    ]
    lines.append(f"{len(findings) - len(unknown)} of {len(findings)} pins audited")
    if unknown:
        lines[-1] += f"; of {len(unknown)} the advisories that are in reach say nothing"
    return (1 if wrong else 0), "\n".join(lines)


if __name__ == "__main__":
    code, said = verdict(audited())
    print(said)
    sys.exit(code)
