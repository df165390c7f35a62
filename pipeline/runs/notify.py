"""Posts how a run ended to a webhook: its `run.json`, or a line of text for a chat.

The URL is a secret and comes from the environment. A message is sent once: what the receiver may
already have is not sent again, so a lost reply counts as a failure. *Crash window:* a kill between
the end of a run and its message leaves the message unsent; if a scheduler then starts the run
again, the message is sent at the end of that start.
"""

import os
from collections.abc import Iterator
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import urllib3

from pipeline.config.schema import Notify
from pipeline.core.errors import ConfigError, OvernightError
from pipeline.core.filesystem import Location
from pipeline.core.redaction import redacted_values
from pipeline.core.text import plural
from pipeline.runs.recorder import Document
from pipeline.store.ending import what_is_left, what_it_cost, why_it_ended
from pipeline.store.reader import read_rows

WEBHOOK = "OVERNIGHT_WEBHOOK"

RETRIES, PAUSE_SECONDS, TIMEOUT_SECONDS = 5, 1.0, 10.0
"""Retries after a failed connection, 429 or 5xx. Each pause is twice as long as the one before, or
as long as the receiver asks."""

LONGEST_PAUSE_SECONDS = 60
"""A receiver may ask for more, but the job holds its machines meanwhile."""

TIMEOUT_INTERRUPTED = 2.0
"""Seconds for a run that was interrupted, which has little time left and tries once."""

ANSWER_CHARACTERS = 500


class NotificationFailed(OvernightError):
    """The webhook did not accept the message; the run itself is not affected."""


def check_webhook() -> None:
    """Raises `ConfigError` if the environment holds something other than an http(s) URL."""
    url = os.environ.get(WEBHOOK)
    if url and urlsplit(url).scheme not in ("http", "https"):
        raise ConfigError(f"{WEBHOOK}: no http:// or https:// address")


def notify(run: Document, store: Location, options: Notify) -> str | None:
    """Posts the message about an ended run; returns the receiver's host, None without a webhook.

    Raises `NotificationFailed` if the receiver does not accept it.
    """
    url = os.environ.get(WEBHOOK)
    if not url:
        return None
    host = urlsplit(url).hostname or "the webhook"
    in_a_hurry = run["status"] == "interrupted"
    retries = urllib3.Retry(
        total=0 if in_a_hurry else RETRIES,
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
            json=redacted_values(_message(run, store, options)),
            retries=retries,
            timeout=TIMEOUT_INTERRUPTED if in_a_hurry else TIMEOUT_SECONDS,
        )
    except urllib3.exceptions.HTTPError as error:
        kind = type(getattr(error, "reason", None) or error).__name__
        # Neither the error's message nor its cause may be shown: they contain the URL.
        raise NotificationFailed(f"{WEBHOOK}: {host}: {kind}") from None
    if reply.status >= 300:
        raise NotificationFailed(f"{WEBHOOK}: {host} answered {reply.status}")
    return host


def _message(run: Document, store: Location, options: Notify) -> dict[str, Any]:
    text = _summary_line(run)
    failed = list(islice(_failed_answers(run["run_id"], store), options.answers))
    if options.format == "slack":
        quoted = [f"> {row['record_id']}: {row['answer']}" for row in failed]
        return {"text": "\n".join([text, *quoted])}
    message = {"text": text, "run": dict(run)}
    return {**message, "answers": failed} if options.answers else message


def _summary_line(run: Document) -> str:
    """How a run ended in one line, with a second one for its error."""
    counts = run.get("counts") or {}
    states = ("answered", "failed", "rejected", "current")
    by_state = ", ".join(f"{counts[state]:,} {state}" for state in states if counts.get(state))
    minutes = (run.get("timings") or {}).get("total", 0) / 60
    line = f"{run['job']['name']}: {why_it_ended(run)} after {minutes:,.1f} min"
    for said in filter(None, (what_it_cost(run), what_is_left(run))):
        line += f"; {said}"
    if counts.get("read"):
        line += f"; {plural(counts['read'], 'record')} read"
    if by_state:
        line += f": {by_state}"
    error = f"\n{run['error']}" if run.get("error") else ""
    return f"{line} (run {run['run_id']}){error}"


def _failed_answers(run_id: str, store: Location) -> Iterator[dict[str, Any]]:
    columns = ["record_id", "status", "failed_checks", "answer", "run_id"]
    for rows in read_rows(store, columns=columns):
        for row in rows.to_pylist():
            if row["run_id"] == run_id and row["status"] == "failed":
                yield {
                    "record_id": row["record_id"],
                    "failed_checks": row["failed_checks"],
                    "answer": row["answer"][:ANSWER_CHARACTERS],
                }
