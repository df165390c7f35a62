"""`overnight compact`: merges many small parts into few large ones."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from pipeline.config.schema import Job
from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import Storage
from pipeline.core.text import plural
from pipeline.store.compaction import TARGET_BYTES, Compacted, compact
from pipeline.store.presence import existing_store


def main(console: Console, job: Job, drop_superseded: bool) -> tuple[int, dict[str, Any]]:
    """Compacts a store; returns exit code 0 and what was done."""
    if job.output.append_only:
        raise ConfigError(
            "output.append_only: compaction deletes the parts that it has merged; use "
            f"output.append_only=false if you may delete files in {job.output.uri}"
        )
    store = existing_store(Storage(job.storage).at(job.output.uri))
    with console.status("compacting") as status:

        def show(done: Compacted) -> None:
            status.update(f"{plural(done.parts_before, 'part')} into {done.parts_after:,}")

        done = compact(store, datetime.now(UTC), drop_superseded, TARGET_BYTES, show)
    console.print(
        f"{plural(done.parts_before, 'part')} ({done.bytes_before / 2**20:,.1f} MiB) into "
        f"{done.parts_after:,} ({done.bytes_after / 2**20:,.1f} MiB), {plural(done.rows, 'row')}"
    )
    if done.superseded_dropped or done.copies_dropped:
        superseded = plural(done.superseded_dropped, "superseded row")
        console.print(f"dropped: {superseded}, {plural(done.copies_dropped, 'copy', 'copies')}")
    return 0, asdict(done)
