"""Azure Blob Storage by adlfs, held to the rules of `pipeline.core.listing`."""

import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from adlfs import AzureBlobFileSystem
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
)
from azure.storage.blob import BlobProperties
from fsspec.asyn import sync, sync_wrapper
from fsspec.spec import AbstractBufferedFile

from pipeline.core.redaction import redacted
from pipeline.core.storage_faults import forbidden, missing_bucket

# Each credential that is not there is a warning of many lines; the error has them all, too.
logging.getLogger("azure").setLevel(logging.CRITICAL)

_VARIABLES = "AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_ACCOUNT_KEY, AZURE_CLIENT_ID"
_NO_CONTAINER = {"ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled"}
_REFUSED = (401, 403)


def _guarded(name: str) -> Callable[..., Any]:
    """A method of adlfs whose errors are those of `_guard`."""
    method = getattr(AzureBlobFileSystem, name)

    @wraps(method)
    async def call(*args: Any, **options: Any) -> Any:
        with _guard():
            return await method(*args, **options)

    return call


class AzureStore(AzureBlobFileSystem):  # type: ignore[misc]  # adlfs has no types
    """Containers of an account; a refused request is `Forbidden`, a lost one `MissingBucket`.

    Uploads appear whole or not at all, and with mode `create` only if there is no such blob. `host`
    is that of the account, where the URI names it: `abfss://container@host/path`.
    """

    protocol = ("az", "abfs", "abfss")

    def __init__(self, host: str | None = None, **options: Any) -> None:
        usual = options.get("account_name") or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME")
        if host:
            options["account_name"] = host.partition(".")[0]
        super().__init__(**options)
        account = self.service_client.account_name
        if host and account != self.account_name:
            raise ValueError(
                f"the credentials are those of the account {account}, and the URI names "
                f"{self.account_name}"
            )
        # One place has one URI, whichever way it was written.
        self._host = None if self.connection_string or account == usual else host

    def unstrip_protocol(self, name: str) -> str:
        uri = str(super().unstrip_protocol(name))
        container, slash, path = uri.partition("://")[2].partition("/")
        return f"abfss://{container}@{self._host}{slash}{path}" if self._host else uri

    _info, _cat_file, _rm_file = map(_guarded, ("_info", "_cat_file", "_rm_file"))
    _pipe_file, _put_file, _get_file = map(_guarded, ("_pipe_file", "_put_file", "_get_file"))
    pipe_file, put_file, get_file = map(sync_wrapper, (_pipe_file, _put_file, _get_file))

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        """A file that is read by ranges, so that a blob that is gone is a missing file."""
        if mode != "rb":
            return super()._open(path, mode, **options)
        return AbstractBufferedFile(self, path, mode, **options)

    def listed(self, folder: str, stem: str, deep: bool) -> list[dict[str, Any]]:
        infos: list[dict[str, Any]] = sync(self.loop, self._listed, folder, stem, deep)
        return infos

    async def _listed(self, folder: str, stem: str, deep: bool) -> list[dict[str, Any]]:
        container, _, path = folder.partition("/")
        prefix = f"{path}/{stem}" if path else stem
        with _guard():
            async with self.service_client.get_container_client(container) as client:
                options = {"name_starts_with": prefix or None, "include": ["metadata"]}
                found: AsyncIterator[Any]
                found = client.list_blobs(**options) if deep else client.walk_blobs(**options)
                return [_info(container, item) async for item in found]


def _info(container: str, item: Any) -> dict[str, Any]:
    """A blob, or a folder, which accounts with a hierarchical namespace keep as empty blobs."""
    name = f"{container}/{item.name}"
    if not isinstance(item, BlobProperties) or _is_folder(item):
        return {"name": name.rstrip("/"), "size": 0, "type": "directory"}
    return {
        "name": name,
        "size": item.size,
        "type": "file",
        "mtime": item.last_modified,
        "etag": item.etag,
    }


def _is_folder(blob: BlobProperties) -> bool:
    marks = {name.lower(): value for name, value in (blob.metadata or {}).items()}
    return marks.get("hdi_isfolder") == "true"


@contextmanager
def _guard() -> Iterator[None]:
    """Turns errors of Azure's client, and of adlfs on top of them, into those of a file system."""
    try:
        yield
    except Exception as error:
        cause = _of_client(error)
        if cause is None:
            raise
        if cause.error_code in _NO_CONTAINER:
            raise missing_bucket(cause.error_code, "there is no such container") from error
        if isinstance(cause, ClientAuthenticationError) or cause.status_code in _REFUSED:
            raise forbidden(_said(cause), _VARIABLES) from error
        if isinstance(cause, ResourceNotFoundError):
            raise FileNotFoundError(_said(cause)) from error
        if isinstance(error, FileExistsError):
            raise
        raise OSError(_said(cause)) from error


def _said(error: Any) -> str:
    """An error's code and the first line of its text; identifiers and a whole page follow it."""
    first, *_ = str(error.message).splitlines() or [""]
    return redacted(f"{error.error_code or type(error).__name__}: {first}")


def _of_client(error: BaseException | None) -> Any:
    """The error of Azure's client that an error of adlfs came of."""
    while error is not None and not isinstance(error, HttpResponseError):
        error = error.__cause__ or error.__context__
    return error
