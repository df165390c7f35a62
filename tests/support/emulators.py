"""Emulators of object stores other than S3: gcp-storage-emulator, and Microsoft's Azurite.

Neither is the real service: docs/storage.md says what they cannot show.
"""

import base64
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from filelock import FileLock

from pipeline.core.filesystem import Location, Storage
from tests.support.jobs import free_port

AZURITE = "azurite@3.37.0"
ACCOUNT, KEY = "overnight", base64.b64encode(b"OVERNIGHT-TESTS-AZURE-KEY").decode()


@dataclass(frozen=True)
class Emulator:
    """A running emulator, and what a job needs to reach it."""

    name: str
    scheme: str
    endpoint: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def storage(self) -> dict[str, Any]:
        return {self.scheme: dict(self.options)}

    def at(self, path: str) -> Location:
        return Storage(self.storage()).at(self.uri(path))

    def uri(self, path: str) -> str:
        return f"{self.scheme}://{path}"

    def bucket(self, name: str, files: Mapping[str, bytes] | None = None) -> str:
        """A new bucket or container with these files; its name."""
        made = name.replace("_", "-").lower()[-40:].strip("-")
        self.at(made).fs.mkdir(made)
        for key, data in (files or {}).items():
            self.at(f"{made}/{key}").fs.pipe_file(f"{made}/{key}", data)
        return made


@contextmanager
def google_emulator() -> Iterator[Emulator]:
    """gcp-storage-emulator in this process, with two things added that it lacks: the condition
    `ifGenerationMatch=0`, and an end to uploads that are given up."""
    logging.getLogger("api").setLevel(logging.CRITICAL + 1)  # it says each missing object aloud
    server = _Server(("127.0.0.1", 0), partial(_handler(), _google_storage()))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    yield Emulator(
        "gcp-storage-emulator", "gs", endpoint, {"endpoint_url": endpoint, "token": "anon"}
    )
    server.shutdown()
    server.server_close()
    thread.join(10)


class _Server(HTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Of clients that hang up, as after a part of a file, nothing is said."""


class Exists(Exception):
    """An upload asks for `ifGenerationMatch=0`, and there is such an object."""


def _google_storage() -> Any:
    from gcp_storage_emulator.storage import Storage as Kept

    class Conditional(Kept):  # type: ignore[misc]
        """Requests come one by one, so that nothing happens between looking and writing."""

        only_new = False

        def create_file(
            self, bucket_name: str, file_name: str, content: bytes, *rest: Any, **named: Any
        ) -> None:
            if self.only_new and file_name in self.objects.get(bucket_name, {}):
                raise Exists
            super().create_file(bucket_name, file_name, content, *rest, **named)

    return Conditional(use_memory_fs=True)


def _handler() -> type:
    from gcp_storage_emulator.server import RequestHandler

    class Conditional(RequestHandler):  # type: ignore[misc]
        def do_POST(self) -> None:
            self._unless_it_exists(super().do_POST)

        def do_DELETE(self) -> None:
            if "upload_id=" in self.path:
                self._say(499)
            else:
                super().do_DELETE()

        def do_PUT(self) -> None:
            self._unless_it_exists(super().do_PUT)

        def _unless_it_exists(self, upload: Callable[[], None]) -> None:
            query = parse_qs(urlsplit(self.path).query)
            self.storage.only_new = query.get("ifGenerationMatch") == ["0"]
            try:
                upload()
            except Exists:
                self._say(412)

        def _say(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Conditional


@contextmanager
def azurite() -> Iterator[Emulator]:
    """Azurite's Blob service in a process of its own, all in memory."""
    port = free_port()
    server = subprocess.Popen(
        [
            *(azurite_command(), "--blobHost", "127.0.0.1", "--blobPort", str(port)),
            *("--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"),
        ],
        env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    yield Emulator("Azurite", "az", endpoint)
    server.terminate()
    server.wait(10)


def connection_string(endpoint: str) -> str:
    """What `AZURE_STORAGE_CONNECTION_STRING` holds for a server."""
    return f"AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={endpoint}"


def azurite_command() -> Path:
    """Azurite's program, which npm puts into this environment the first time."""
    folder = Path(sys.prefix) / AZURITE
    program = folder / "node_modules/.bin/azurite-blob"
    with FileLock(f"{folder}.lock"):
        if not program.exists():
            npm = shutil.which("npm")
            assert npm, "Azurite needs Node.js: install node and npm"
            subprocess.run(
                [
                    npm,
                    "install",
                    "--silent",
                    "--no-audit",
                    "--no-fund",
                    "--prefix",
                    folder,
                    AZURITE,
                ],
                check=True,
            )
    return program


if __name__ == "__main__":  # for `make test`, so that no test waits for it
    azurite_command()
