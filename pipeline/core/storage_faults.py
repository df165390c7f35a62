"""What a file system's errors mean for a person, and the way out, as far as they tell."""

import errno
import os
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.core.errors import describe

_FORBIDDEN = {
    *("AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "InvalidAccessKeyId"),
    *("SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "RequestTimeTooSkewed"),
}
_ELSEWHERE = {"PermanentRedirect", "IllegalLocationConstraintException", "301"}
_MALFORMED = "AuthorizationHeaderMalformed"  # with a region: the request was signed for another one
_MISSING_REPOSITORY = {"RepositoryNotFoundError", "GatedRepoError", "RevisionNotFoundError"}

_NO_RIGHT = (errno.EACCES, errno.EPERM)
_NO_DISK = (errno.ESTALE, errno.EIO, errno.ENOTCONN, errno.EHOSTDOWN, errno.ETIMEDOUT, errno.ENODEV)


class Unreadable(OSError):
    """What is at a path is neither a file nor a folder, or a folder that cannot be listed."""


class MissingBucket(FileNotFoundError):
    """A store has no such bucket or container; its text is for a person."""


class Forbidden(PermissionError):
    """A store refuses what these credentials, or nobody's, ask for; its text is for a person."""


def missing_bucket(code: str, said: str = "there is no such bucket") -> MissingBucket:
    return MissingBucket(f"{said} ({code}); create it, or correct the URI")


def forbidden(said: str, variables: str) -> Forbidden:
    """Has what the store said, and which variables of the environment hold credentials."""
    return Forbidden(
        f"access is forbidden ({said}); give the credentials in use the right to it, or set "
        f"others ({variables})"
    )


def explained(error: BaseException) -> str:
    """An error in one line with the way out, as far as it says enough.

    Of a bucket it tells whether it is missing, forbidden or in another region.
    """
    if isinstance(error, (Unreadable, MissingBucket, Forbidden)):
        return str(error)
    if response := _response(error):
        return _of_bucket(error, response) or describe(error)
    if any(isinstance(e, RecursionError) for e in _chain(error)):
        return _elsewhere("redirected in circles")  # by botocore, if no response names the region
    if isinstance(error, OSError) and error.errno in _NO_RIGHT:
        return f"{describe(error)}; give this user (uid {os.geteuid()}) the right to it"
    if isinstance(error, OSError) and error.errno in _NO_DISK:
        return f"{describe(error)}; see to the disk or its mount, and start again"
    return describe(error)


def is_missing_bucket(error: BaseException) -> bool:
    """Whether a bucket, a container or a repository of the hub is missing."""
    if any(type(e).__name__ in _MISSING_REPOSITORY for e in _chain(error)):
        return True
    is_named = any(isinstance(e, MissingBucket) for e in _chain(error))
    return is_named or _code(_response(error)) == "NoSuchBucket"


def _of_bucket(error: BaseException, response: Mapping[str, Any]) -> str | None:
    code, region = _code(response), _region(response)
    if code == "NoSuchBucket":
        return str(missing_bucket(code))
    if code in _ELSEWHERE or (code == _MALFORMED and region):
        return _elsewhere(code, region)
    if code in _FORBIDDEN:
        said = f"{code}: {describe(error)}"
        return str(forbidden(said, "AWS_PROFILE, AWS_ACCESS_KEY_ID"))
    return None


def _elsewhere(code: str, region: str = "") -> str:
    named, wanted = (f", {region}", region) if region else ("", "<its region>")
    return (
        f"the bucket is in another region{named} ({code}); set AWS_DEFAULT_REGION={wanted} or "
        f"storage.client_kwargs: {{region_name: {wanted}}}"
    )


def _response(error: BaseException) -> Mapping[str, Any]:
    """What an S3 client's error, or one that it caused, has of the server's response."""
    responses = (getattr(e, "response", None) for e in _chain(error))
    return next((r for r in responses if isinstance(r, Mapping) and "Error" in r), {})


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _code(response: Mapping[str, Any]) -> str:
    return str(response.get("Error", {}).get("Code", ""))


def _region(response: Mapping[str, Any]) -> str:
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(response["Error"].get("Region") or headers.get("x-amz-bucket-region", ""))
