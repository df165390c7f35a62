#!/usr/bin/env python3
"""Runs the job on a standing Ray cluster, for a scheduler that wants its exit code.

    python deploy/ray/submit.py --address http://head:8265 conf/job.yaml [key=value ...]

`ray job submit` alone ends with 0 or 1, and leaves a job running that its caller no longer waits
for. This ends as the job does, and hands a SIGTERM on to it. The folder that it is called in, less
what .gitignore names, travels to the cluster, so that job file, prompts and code are those of here.
Secrets do not travel: they are in the environment of the cluster's nodes.

Set RAY_JOB_STOP_WAIT_TIME_S on the head above the job's `grace_seconds`; Ray kills after 3 seconds.
"""

import argparse
import asyncio
import os
import shlex
import signal
import sys
import time
import uuid
from contextlib import suppress
from threading import Event
from types import FrameType

from aiohttp import ClientError
from ray.job_submission import JobStatus, JobSubmissionClient

FAILED, INTERRUPTED = 3, 130
EXCLUDED = [".git", "/docs", "/tests"]
LOOK_SECONDS, JOIN_SECONDS, LOST_SECONDS = 1.0, 60.0, 60.0
LOST = (RuntimeError, OSError, ClientError)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", default=os.environ.get("RAY_API_SERVER_ADDRESS"))
    parser.add_argument("--run-id", default=os.environ.get("OVERNIGHT_RUN_ID"))
    parser.add_argument("job", help="the job file, in the folder that this is called in")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    given = parser.parse_args()
    if not given.address:
        parser.error("--address: where is the cluster's dashboard? As in http://head:8265")
    return given


def submitted(client: JobSubmissionClient, asked: argparse.Namespace) -> str:
    """The submission's id. A run that is started again is another submission of the same run."""
    command = ["python", "-m", "jobs", "run", asked.job, *asked.overrides, "--json"]
    if asked.run_id:
        command += ["--run-id", asked.run_id]
    job = f"{asked.run_id or 'overnight'}-{uuid.uuid4().hex[:8]}"
    until = time.monotonic() + JOIN_SECONDS
    while True:
        try:
            return client.submit_job(
                entrypoint=shlex.join(command),
                submission_id=job,
                runtime_env={"working_dir": os.getcwd(), "excludes": EXCLUDED},
            )
        except RuntimeError:  # a young cluster has no agent yet that would take it
            if time.monotonic() > until:
                raise
            time.sleep(LOOK_SECONDS)


async def shown_to_the_end(client: JobSubmissionClient, job: str, stopping: Event) -> None:
    """Prints what the job says. A connection that breaks is no end of the job, unless it stays
    broken; a job that is to stop is told so again then.
    """
    shown, heard = 0, time.monotonic()
    while True:
        with suppress(*LOST):
            seen = 0
            async for lines in client.tail_job_logs(job):
                new = lines[max(shown - seen, 0) :]
                seen += len(lines)
                if new:
                    shown = seen
                    sys.stdout.write(new)
                    sys.stdout.flush()
        try:
            if client.get_job_status(job).is_terminal():
                return
            heard = time.monotonic()
            if stopping.is_set():
                client.stop_job(job)
        except LOST:
            if time.monotonic() - heard > LOST_SECONDS:
                raise
        await asyncio.sleep(LOOK_SECONDS)


def exit_code(client: JobSubmissionClient, job: str) -> int:
    """The job's own; one that was stopped may have had no time to leave one."""
    info = client.get_job_info(job)
    if info.status == JobStatus.STOPPED:
        return INTERRUPTED
    if info.driver_exit_code is None:
        print(f"{job}: {info.status}: {info.message}", file=sys.stderr)
        return FAILED
    return info.driver_exit_code


def run_to_its_end(asked: argparse.Namespace) -> int:
    client = JobSubmissionClient(asked.address)
    job = submitted(client, asked)

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()
        with suppress(*LOST):
            client.stop_job(job)

    stopping = Event()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(f"{job} on {asked.address}", file=sys.stderr)
    asyncio.run(shown_to_the_end(client, job, stopping))
    return exit_code(client, job)


def main() -> int:
    asked = arguments()
    try:
        return run_to_its_end(asked)
    except LOST as error:
        print(f"{asked.address}: the cluster is lost: {error}", file=sys.stderr)
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
