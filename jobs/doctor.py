"""`overnight doctor`: what would fail, before it does."""

from typing import Any

from rich.console import Console

from pipeline.config.schema import Job
from pipeline.run.doctor import examine


def main(console: Console, job: Job) -> tuple[int, dict[str, Any]]:
    """Exit code 0 where nothing would fail, else that of the first diagnosis; and the diagnoses."""
    diagnoses = []
    for diagnosis in examine(job):
        diagnoses.append(diagnosis)
        sign = "[red]✗[/]" if diagnosis.exit_code else "[green]✓[/]"
        console.print(f"{sign} {diagnosis.name}: ", end="")
        console.print(diagnosis.said, markup=False)
    code = next((d.exit_code for d in diagnoses if d.exit_code), 0)
    listed = [{"name": d.name, "ok": not d.exit_code, "said": d.said} for d in diagnoses]
    return code, {"ok": code == 0, "findings": listed}
