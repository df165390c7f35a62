"""`overnight compact`: merges many small parts into few large ones."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from pipeline.config.schema import Job
from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import Storage
from pipeline.store.compaction import TARGET_BYTES, compact


def main(console: Console, job: Job, drop_superseded: bool) -> tuple[int, dict[str, Any]]:
    """Compacts a store; returns exit code 0 and what was done."""
    if job.output.append_only:
        raise ConfigError(
            "output.append_only: compaction deletes the parts that it has merged; run it with "
            f"output.append_only=false if you may delete files in {job.output.uri}"
        )
    store = Storage(job.storage).at(job.output.uri)
    with console.status("compacting") as status:
        done = compact(
            store,
            datetime.now(UTC),
            drop_superseded,
            TARGET_BYTES,
            lambda d: status.update(f"{d.parts_before:,} parts into {d.parts_after:,}"),
        )
    console.print(
        f"{done.parts_before:,} parts ({done.bytes_before / 2**20:,.1f} MiB) into "
        f"{done.parts_after:,} ({done.bytes_after / 2**20:,.1f} MiB), {done.rows:,} rows"
    )
    if done.superseded_dropped or done.copies_dropped:
        console.print(
            f"dropped: {done.superseded_dropped:,} superseded rows, {done.copies_dropped:,} copies"
        )
    return 0, asdict(done)
