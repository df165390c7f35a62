"""`overnight doctor`: what would fail, before it does."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from pipeline.config.loading import load_job
from pipeline.run.doctor import examine


def doctor(console: Console, job_file: str, overrides: Sequence[str]) -> tuple[int, dict[str, Any]]:
    """Exit code 0 where nothing would fail, else that of the first finding; and the findings."""
    findings = []
    for finding in examine(load_job(job_file, overrides)):
        findings.append(finding)
        sign = "[red]✗[/]" if finding.exit_code else "[green]✓[/]"
        console.print(f"{sign} {finding.name}: ", end="")
        console.print(finding.said, markup=False)
    code = next((f.exit_code for f in findings if f.exit_code), 0)
    listed = [{"name": f.name, "ok": not f.exit_code, "said": f.said} for f in findings]
    return code, {"ok": code == 0, "findings": listed}
