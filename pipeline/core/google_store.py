"""Google Cloud Storage by gcsfs, held to the rules of `pipeline.core.listing`."""

import logging
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from fsspec.asyn import sync_wrapper
from gcsfs.core import GCSFileSystem
from gcsfs.retry import HttpError

from pipeline.core.errors import describe
from pipeline.core.storage_faults import forbidden, missing_bucket

# It logs each refused request with a traceback and the whole address; the error is raised, too.
logging.getLogger("gcsfs").setLevel(logging.CRITICAL)

_OF_BUCKET = re.compile(r"/o(\?|$)")
"""The end of the address of a request for a bucket: a listing or an upload."""


class GoogleStore(GCSFileSystem):  # type: ignore[misc]  # gcsfs has no types
    """Buckets with the JSON API; a refused request is `Forbidden`, a lost bucket `MissingBucket`.

    Uploads appear whole or not at all, and with mode `create` only if there is no such object.
    """

    def listed(self, folder: str, stem: str, deep: bool) -> list[dict[str, Any]]:
        bucket, _, key = folder.partition("/")
        prefix = f"{key}/{stem}" if key else stem
        return [i for page in self._pages(bucket, prefix, deep) for i in self._infos(bucket, page)]

    def _pages(self, bucket: str, prefix: str, deep: bool) -> Iterator[dict[str, Any]]:
        token = None
        while True:
            page: dict[str, Any] = self.call(
                *("GET", "b/{}/o", bucket),
                prefix=prefix or None,
                delimiter=None if deep else "/",
                pageToken=token,
                json_out=True,
            )
            yield page
            if not (token := page.get("nextPageToken")):
                return

    def _infos(self, bucket: str, page: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for prefix in page.get("prefixes", ()):
            yield {"name": f"{bucket}/{prefix.rstrip('/')}", "size": 0, "type": "directory"}
        for item in page.get("items", ()):
            yield self._process_object(bucket, item)

    async def _call(self, method: str, path: str, *args: Any, **options: Any) -> Any:
        if method == "DELETE" and "upload_id=" in path:  # gcsfs tidies up before it raises
            with suppress(Exception):
                await super()._call(method, path, *args, **options)
            return {}, b""
        try:
            return await super()._call(method, path, *args, **options)
        except FileNotFoundError as error:
            if _OF_BUCKET.search(path):
                raise missing_bucket("404") from error
            raise
        except (OSError, HttpError) as error:
            if str(error).startswith("Forbidden") or getattr(error, "code", None) == 401:
                variables = "GOOGLE_APPLICATION_CREDENTIALS"
                raise forbidden(describe(error), variables) from error
            raise

    call = sync_wrapper(_call)
