"""`make audit`: looks up the pins of constraints.txt among known vulnerabilities.

pip-audit reads PyPI's advisories. Pins that it cannot look up, as behind a mirror without
advisories, are counted and no failure; a vulnerability is one.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"

Audit = dict[str, object]
"""What pip-audit reports of one pin."""


def audited(constraints: Path = CONSTRAINTS) -> list[Audit]:
    """Audits of all pins; one that could not be looked up has a `skip_reason`."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(constraints)]
    options = ["--no-deps", "--disable-pip", "--progress-spinner=off", "--format=json"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    if not done.stdout:
        sys.exit(f"pip-audit: {done.stderr.strip()}")
    audits: list[Audit] = json.loads(done.stdout)["dependencies"]
    return audits


def verdict(audits: Sequence[Audit]) -> tuple[int, str]:
    """Exit code and the lines to print."""
    unknown = [a for a in audits if "skip_reason" in a]
    vulnerable = [a for a in audits if a.get("vulns")]
    lines = [
        f"{a['name']} {a['version']}: {v['id']}, fixed in {', '.join(v['fix_versions']) or 'none'}"
        for a in vulnerable
        for v in a["vulns"]
    ]
    lines.append(f"{len(audits) - len(unknown)} of {len(audits)} pins audited")
    if unknown:
        lines[-1] += f"; no advisories are available here for the other {len(unknown)}"
    return (1 if vulnerable else 0), "\n".join(lines)


if __name__ == "__main__":
    code, message = verdict(audited())
    print(message)
    sys.exit(code)
