"""The trials of `overnight tune`: one JSON line each, in a file of the store per sample and device.

`tuning/<digest>.jsonl` is no part, no run and no answer: nothing but `tune` reads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import orjson

from pipeline.core.filesystem import Location, storage_errors

TUNING_FOLDER = "tuning"

REFUSED = "refused"
"""Stands for the digest of an answer that there is not."""

Key = tuple[bytes, int, int]


@dataclass(frozen=True, slots=True)
class Trial:
    """The first `records` of a sample, answered at temperature 0 under some settings.

    `settings` are the engine options that differ from the job's. `turn` is 0 in the search; later
    ones measure the same again. `seconds` go from the first request to the last answer; `cost` is
    all that the trial took, `start` its part until the engine was there.
    """

    settings: Mapping[str, Any]
    records: int
    turn: int = 0
    seconds: float = 0.0
    start: float = 0.0
    cost: float = 0.0
    tokens: int = 0  # of prompts and completions
    answers: tuple[str, ...] = ()  # a digest of each completion
    failed: str | None = None  # why it has no rate
    in_force: Mapping[str, Any] = field(default_factory=dict)  # what vLLM made of the options

    @property
    def key(self) -> Key:
        return key_of(self.settings, self.records, self.turn)

    @property
    def rate(self) -> float:
        """Records a second; 0 for a trial that failed."""
        return self.records / self.seconds if self.seconds and not self.failed else 0.0

    @property
    def refused(self) -> int:
        return self.answers.count(REFUSED)

    def differing(self, other: "Trial") -> int:
        """Answers that are not those of another trial, among the records that both have."""
        return sum(a != b for a, b in zip(self.answers, other.answers, strict=False))


def key_of(settings: Mapping[str, Any], records: int, turn: int = 0) -> Key:
    return orjson.dumps(settings, option=orjson.OPT_SORT_KEYS), records, turn


class TrialFile:
    """What earlier trials of the same sample, engine and device have measured.

    *Crash window:* a trial that is killed before it ends is not there, and is made again. The file
    is written whole after each; of two commands that tune the same at once, the later one's stay.
    """

    def __init__(self, store: Location, identity: Mapping[str, Any]) -> None:
        content = orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)
        digest = blake2b(content, digest_size=16).hexdigest()
        self._file = store.join(TUNING_FOLDER, f"{digest}.jsonl")
        self._trials = {trial.key: trial for trial in _read(self._file)}
        self._lines = [orjson.dumps(trial) for trial in self._trials.values()]

    @property
    def uri(self) -> str:
        return self._file.uri

    @property
    def cost(self) -> float:
        """Seconds that all its trials took."""
        return sum(trial.cost for trial in self._trials.values())

    def find(self, key: Key) -> Trial | None:
        return self._trials.get(key)

    def add(self, trial: Trial) -> None:
        self._trials[trial.key] = trial
        self._lines.append(orjson.dumps(trial))
        self._file.write_whole(b"\n".join([*self._lines, b""]))


def _read(file: Location) -> list[Trial]:
    if file.found() is None:
        return []
    with storage_errors(file.uri):
        content = file.fs.cat_file(file.path)
    return [trial for line in content.splitlines() if (trial := _trial(line))]


def _trial(line: bytes) -> Trial | None:
    """None for a line that is torn, or not one of ours."""
    try:
        fields = orjson.loads(line)
        return Trial(**{**fields, "answers": tuple(fields["answers"])})
    except (ValueError, TypeError, KeyError):
        return None
