"""`overnight doctor`: finds what would make a run fail, before it does."""

from typing import Any

from rich.console import Console

from pipeline.config.schema import Job
from pipeline.runs.doctor import diagnose


def main(console: Console, job: Job) -> tuple[int, dict[str, Any]]:
    """The exit code of the first fault, 0 if there is none; and all findings."""
    code, findings = 0, []
    for diagnosis in diagnose(job):
        sign = "[red]✗[/]" if diagnosis.exit_code else "[green]✓[/]"
        console.print(f"{sign} {diagnosis.name}: ", end="")
        console.print(diagnosis.message, markup=False)
        code = code or diagnosis.exit_code
        ok = not diagnosis.exit_code
        findings.append({"name": diagnosis.name, "ok": ok, "said": diagnosis.message})
    return code, {"ok": code == 0, "findings": findings}
