"""Tells a webhook how a run ended: its `run.json`, or a line of text for a chat.

The URL is a secret and comes from the environment. A run is told of once: what the receiver may
have taken already is not sent again, so that of a lost reply nothing is heard. *Crash window:* a
kill between the end of a run and this leaves it untold; a scheduler that then starts the run again
has it told of at the end of that start.
"""

import os
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import urllib3

from pipeline.config.schema import Notify
from pipeline.core.errors import ConfigError, OvernightError
from pipeline.core.filesystem import Location
from pipeline.core.redaction import redacted_values
from pipeline.store.reader import read_rows

WEBHOOK = "OVERNIGHT_WEBHOOK"

RETRIES, PAUSE_SECONDS, PATIENCE_SECONDS = 5, 1.0, 10.0
"""Of what passes: no connection, 429 and 5xx; with pauses twice as long each time, or as long as
the receiver asks."""

LONGEST_PAUSE_SECONDS = 60
"""Whatever the receiver asks for: the job's machines are held meanwhile."""

PATIENCE_INTERRUPTED = 2.0
"""A run that was interrupted has little time left, and tries once."""

ANSWER_CHARACTERS = 500


class NotTold(OvernightError):
    """The webhook did not take it; the run is as it is."""


def check_webhook() -> None:
    """Raises `ConfigError` where the environment holds something else than an address."""
    url = os.environ.get(WEBHOOK)
    if url and urlsplit(url).scheme not in ("http", "https"):
        raise ConfigError(f"{WEBHOOK}: no http:// or https:// address")


def notify(run: Mapping[str, Any], store: Location, asked: Notify) -> str | None:
    """Sends what the job asks for about an ended run; returns to whom, or None without a webhook.

    Raises `NotTold` where the receiver does not take it.
    """
    url = os.environ.get(WEBHOOK)
    if not url:
        return None
    to = urlsplit(url).hostname or "the webhook"
    hurried = run["status"] == "interrupted"
    retries = urllib3.Retry(
        total=0 if hurried else RETRIES,
        read=0,
        redirect=0,
        backoff_factor=PAUSE_SECONDS,
        retry_after_max=LONGEST_PAUSE_SECONDS,
        status_forcelist=[429, *range(500, 600)],
        allowed_methods=None,
        raise_on_status=False,
    )
    try:
        reply = urllib3.PoolManager().request(
            "POST",
            url,
            json=redacted_values(_message(run, store, asked)),
            retries=retries,
            timeout=PATIENCE_INTERRUPTED if hurried else PATIENCE_SECONDS,
        )
    except urllib3.exceptions.HTTPError as error:
        raise NotTold(f"{WEBHOOK}: {to}: {_kind(error)}") from None  # its words hold the address
    if reply.status >= 300:
        raise NotTold(f"{WEBHOOK}: {to} answered {reply.status}")
    return to


def _kind(error: Exception) -> str:
    cause = getattr(error, "reason", None) or error
    return type(cause).__name__


def _message(run: Mapping[str, Any], store: Location, asked: Notify) -> dict[str, Any]:
    text = in_words(run)
    shown = list(islice(_failed(run["run_id"], store), asked.answers))
    if asked.format == "slack":
        quoted = [f"> {row['record_id']}: {row['answer']}" for row in shown]
        return {"text": "\n".join([text, *quoted])}
    return {"text": text, "run": dict(run), **({"answers": shown} if asked.answers else {})}


def in_words(run: Mapping[str, Any]) -> str:
    """A run's end in a line or two."""
    counts, error = run.get("counts") or {}, run.get("error")
    states = ", ".join(
        f"{counts[state]:,} {state}"
        for state in ("answered", "failed", "rejected", "current")
        if counts.get(state)
    )
    minutes = (run.get("timings") or {}).get("total", 0) / 60
    said = f"{run['job']['name']}: {run['status'].replace('_', ' ')} after {minutes:,.1f} min"
    read = f"; {counts['read']:,} records read" if counts.get("read") else ""
    return "".join(
        [said, read, f": {states}" if states else "", f" (run {run['run_id']})"]
        + ([f"\n{error}"] if error else [])
    )


def _failed(run_id: str, store: Location) -> Iterator[dict[str, Any]]:
    """Answers of a run that failed, with their texts; for who asks for them."""
    columns = ["record_id", "status", "failed_checks", "answer", "run_id"]
    for rows in read_rows(store, columns=columns):
        for row in rows.to_pylist():
            if row["run_id"] == run_id and row["status"] == "failed":
                yield {
                    "record_id": row["record_id"],
                    "failed_checks": row["failed_checks"],
                    "answer": row["answer"][:ANSWER_CHARACTERS],
                }
