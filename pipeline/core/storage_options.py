"""The job file's `storage` section: which options are whose, and which file system reads a URI."""

import inspect
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import fsspec
from fsspec.utils import get_protocol

from pipeline.core.errors import ConfigError, nearest

SCHEMES = {
    "s3": ("s3", "s3a"),
    "gs": ("gs", "gcs"),
    "az": ("az", "abfs", "abfss"),
    "hf": ("hf",),
}
"""Object stores, each with the protocols that name it; the first is the one in messages."""

_STORE_OF = {scheme: store for store, schemes in SCHEMES.items() for scheme in schemes}
_EXTRAS = {"gs": "gcs", "az": "azure", "hf": "hub"}
_READ_ONLY = {"hf"}

GOOGLE_CREDENTIALS = "GOOGLE_APPLICATION_CREDENTIALS"


def store_of(uri: str) -> str:
    """The object store of a URI, as `SCHEMES` names it, or the protocol of another file system."""
    protocol = str(get_protocol(uri))
    return _STORE_OF.get(protocol, protocol)


def check_writable(uri: str) -> None:
    """Raises `ConfigError` for a URI that can only be read."""
    if (store := store_of(uri)) in _READ_ONLY:
        raise ConfigError(
            f"{uri}: {store}:// is for input only; write to s3://, gs://, az:// or a folder"
        )


def by_store(storage: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The options of each object store; flat ones are those of `s3`.

    Raises `ConfigError` for flat options beside schemes, and for what is no mapping.
    """
    if not (schemes := [name for name in storage if name in _STORE_OF]):
        return {"s3": storage} if storage else {}
    found: dict[str, Mapping[str, Any]] = {}
    for name, options in storage.items():
        if name not in _STORE_OF:
            raise ConfigError(
                f"storage.{name}: options are flat or by scheme, not both; beside {schemes[0]}, "
                f"write this one as storage.s3.{name}, or below the scheme that it is for"
            )
        if (store := _STORE_OF[name]) in found:
            same = ", ".join(f"{scheme}://" for scheme in SCHEMES[store])
            raise ConfigError(f"storage.{name}: {same} are one file system; write its options once")
        if not isinstance(options, Mapping | None):
            raise ConfigError(f"storage.{name}: write a mapping of options, or leave it out")
        found[store] = options or {}
    return found


def endpoints(storage: Mapping[str, Any]) -> dict[str, Any]:
    """The addresses of servers among the options, by the dotted names of these."""
    flat = {"storage.endpoint_url": storage.get("endpoint_url")}
    nested = {
        f"storage.{scheme}.{name}": options.get(name)
        for scheme, options in storage.items()
        if scheme in _STORE_OF and options
        for name in ("endpoint_url", "endpoint", "account_host")
    }
    return {name: address for name, address in {**flat, **nested}.items() if address}


def file_system_class(uri: str) -> Any:
    """The class of a URI's file system; `ConfigError` if there is none or its extra is missing."""
    store = store_of(uri)
    try:
        if store == "gs":
            from pipeline.core.google_store import GoogleStore

            return GoogleStore
        if store == "az":
            from pipeline.core.azure_store import AzureStore

            return AzureStore
        return fsspec.get_filesystem_class(get_protocol(uri))
    except (ImportError, ValueError) as error:
        if extra := _EXTRAS.get(store):
            raise ConfigError(
                f"{uri}: needs the extra {extra}: pip install 'overnight[{extra}]'"
            ) from error
        raise ConfigError(f"{uri}: no file system is known for {store}://: {error}") from error


def options_for(uri: str, cls: Any, storage: Mapping[str, Any]) -> dict[str, Any]:
    """The options with which to open a URI, of a file system that is no disk; defaults included.

    Raises `ConfigError` for unknown options, and where flat ones would go to a store of others.
    """
    store, options = store_of(uri), by_store(storage)
    is_flat = bool(storage) and not any(name in _STORE_OF for name in storage)
    if is_flat and store in _EXTRAS:
        raise ConfigError(
            f"{uri}: the options in storage ({', '.join(storage)}) are those of s3://; "
            f"write them by scheme, storage: {{s3: {{…}}, {store}: {{…}}}}"
        )
    # Any other file system that fsspec knows takes flat options, too.
    given = storage if is_flat else options.get(store, {})
    _check(cls, given, "storage" if is_flat else f"storage.{store}")
    return _with_defaults(uri, store, given)


def _check(cls: type, options: Mapping[str, Any], place: str) -> None:
    """Raises `ConfigError` for an unknown option, which `**kwargs` would swallow silently."""
    known = {
        name
        for base in cls.__mro__
        if "__init__" in vars(base)
        for name, taken in inspect.signature(base.__init__).parameters.items()  # type: ignore[misc]
        if taken.kind not in (taken.VAR_POSITIONAL, taken.VAR_KEYWORD)
    } | {"use_listings_cache", "listings_expiry_time", "max_paths", "skip_instance_cache"}
    known -= {"self", "host"}  # the second is of a URI
    for name in options:
        if name not in known:
            raise ConfigError(f"{place}.{name}: no option of {cls.__name__}{nearest(name, known)}")


def _with_defaults(uri: str, store: str, options: Mapping[str, Any]) -> dict[str, Any]:
    # A cached listing would miss parts that another run has written since.
    fresh = {"use_listings_cache": False, **options}
    match store:
        case "s3":
            config = {
                # Some servers send the checksum of the whole object with a range of it.
                "response_checksum_validation": "when_required",
                **options.get("config_kwargs", {}),
            }
            return {**fresh, "config_kwargs": config}
        case "gs":
            # Where the file that is named is broken, gcsfs would try to go on as nobody.
            named = {"token": "google_default"} if os.environ.get(GOOGLE_CREDENTIALS) else {}
            return {**named, **fresh}
        case "az":
            return {**fresh, "host": host} if (host := account_host(uri)) else fresh
        case "hf":
            return {"skip_instance_cache": True, **options}
        case _:
            return dict(options)


def account_host(uri: str) -> str | None:
    """The host of an Azure account that a URI names: `abfss://container@<host>/path`."""
    container, at, host = urlsplit(uri).netloc.partition("@")
    return host if at and container else None
