"""The Hugging Face hub: whether it has a model for this user, and whether it can be reached at all.

Its own clients try for a minute and more, file by file. One question is asked first, once a
process, and what it found is said in one line.
"""

import os
from functools import cache
from typing import Any

from pipeline.core.errors import EngineError, describe

TIMEOUT_SECONDS, TRIES = 3.0, 2

_NO_MODEL = "the hub has no such model, or hides it; correct the name, or set HF_TOKEN (of a user "
_NO_MODEL += "who may read it) where the engine runs"


def check_hub(
    name: str, revision: str | None, file: str = "config.json", key: str = "engine.model"
) -> None:
    """Raises `EngineError`, about the job's `key`, if the hub does not hand out this file.

    Where the hub cannot be reached and the file is in the local cache, this process and those
    that it starts use the cache and ask no more.
    """
    if fault := _fault(name, revision, file):
        raise EngineError(f"{key}: {name}: {fault}")


@cache
def _fault(name: str, revision: str | None, file: str) -> str | None:
    from huggingface_hub import is_offline_mode, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

    why = "HF_HUB_OFFLINE is set"
    try:
        if not is_offline_mode():
            _ask(name, revision, file)
            return None
    except (EntryNotFoundError, HFValidationError):
        return None  # a model without this file is for its loader to judge
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status < 500:
            return f"{_refusal(error, revision)} ({status})"
        why = f"it answers {status}"
    except Exception as error:  # noqa: BLE001  the hub's client raises exceptions of many families
        why = describe(error)
    if isinstance(try_to_load_from_cache(name, file, revision=revision), str):
        _stay_offline()
        return None
    return (
        f"the hub cannot be reached ({why}), and the model is not in its cache here; check the "
        "network (HF_ENDPOINT, proxies), or give a folder, here or in an object store"
    )


def _ask(name: str, revision: str | None, file: str) -> None:
    """One small request, again if there was no answer."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    url = hf_hub_url(name, file, revision=revision)
    for is_last in [False] * (TRIES - 1) + [True]:
        try:
            get_hf_file_metadata(url, timeout=TIMEOUT_SECONDS)
            return
        except HfHubHTTPError:
            raise
        except Exception:
            if is_last:
                raise


def _refusal(error: Any, revision: str | None) -> str:
    """What the hub means by a status below 500, and the way out."""
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    match error:
        case GatedRepoError():
            return (
                "is a gated model; accept its terms on its page, and set HF_TOKEN (of the user "
                "who did) where the engine runs"
            )
        case RepositoryNotFoundError():
            return _NO_MODEL
        case RevisionNotFoundError():
            return f"the hub has no revision {revision}; correct it"
    if error.response.status_code in (401, 403):
        return "the hub refuses the token in HF_TOKEN; set a valid one, or none for open models"
    return f"the hub refuses the request; {describe(error)}"


def _stay_offline() -> None:
    from huggingface_hub import constants

    os.environ["HF_HUB_OFFLINE"] = "1"
    constants.HF_HUB_OFFLINE = True
