"""A model's files: in a folder, in an object store, or on the Hugging Face hub.

A model in an object store is fetched to a node once, for all its processes.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

import orjson

from pipeline.config.schema import Job
from pipeline.core.disk import disk_level
from pipeline.core.errors import ConfigError, EngineError, OvernightError, StorageError, describe
from pipeline.core.filesystem import Location, Storage, storage_errors
from pipeline.core.storage_faults import Unreadable
from pipeline.core.tree import Entry
from pipeline.engines.chat_template import template_of
from pipeline.engines.hub import check_hub

CACHE = "OVERNIGHT_CACHE"
"""The environment variable that names the folder for fetched models."""

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx")
_CONTEXT = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """All that a job says about its model, its tokenizer and where to find them; hashable.

    `name` is a folder, the URI of a folder in an object store, or a name on the hub. `context` is
    in tokens, None if the model decides.
    """

    name: str
    revision: str | None = None
    context: int | None = None
    tokenizer: str | None = None
    tokenizer_revision: str | None = None
    trust_remote_code: bool = False
    storage: str = "{}"  # the job's storage options, as JSON so that the whole can be hashed
    chat_template: str | None = None  # the job's own, as text; None for the model's
    chat_template_kwargs: str = "{}"  # as JSON
    key: str = "engine.model"  # of the job file, for messages

    @classmethod
    def of(cls, job: Job) -> Self:
        options = job.engine.options
        context = options.get("max_model_len")
        return cls(
            job.engine.model or "",
            job.engine.revision,
            context if isinstance(context, int) and context > 0 else None,
            options.get("tokenizer") or None,
            options.get("tokenizer_revision") or None,
            bool(options.get("trust_remote_code", False)),
            orjson.dumps(job.storage).decode(),
            template_of(job),
            orjson.dumps(job.engine.chat_template_kwargs).decode(),
        )


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """What a loader takes: a folder, or a name on the hub with its revision."""

    where: str
    revision: str | None = None


def model_files(model: ModelSpec, weights: bool, file: str = "config.json") -> ModelFiles:
    """Where to load the model from; one in an object store is fetched first.

    `weights` tells whether to fetch them too; `file` is one that it must have. Raises `EngineError`
    for a folder or store without a model, or a model that the hub does not hand out.
    """
    if "://" in model.name:
        source = Storage(orjson.loads(model.storage)).at(model.name)
        return ModelFiles(str(_fetched(source, weights, model.key)))
    if is_folder(model.name, model.key):
        return ModelFiles(model.name)
    if model.name.startswith((".", "/", "~")):
        raise EngineError(f"{model.key}: {model.name}: no such folder on this node")
    check_hub(model.name, model.revision, file, model.key)
    return ModelFiles(model.name, model.revision)


def is_folder(name: str, key: str) -> bool:
    """Raises `ConfigError` for what a loader would wait for: a pipe, in its place or in it."""
    try:
        found = Storage().at(name).found()
    except StorageError as error:
        if isinstance(error.__cause__, Unreadable):
            raise ConfigError(f"{key}: {error}; give a folder") from error
        raise
    if not (found and found.is_folder):
        return False
    for path, kind in disk_level(name).irregular.items():
        raise ConfigError(f"{key}: {path}: {kind}; remove it, or give another folder")
    return True


def context_tokens(model: ModelSpec) -> int:
    """Tokens of the model's context, prompt and answer together.

    `engine.options.max_model_len`, or what the model's `config.json` says. Raises `ConfigError` if
    neither does.
    """
    if model.context:
        return model.context
    config = model_config(model)
    inner = config.get("text_config")
    for section in (config, inner if isinstance(inner, Mapping) else {}):
        for name in _CONTEXT:
            if isinstance(section.get(name), int):
                return int(section[name])
    raise ConfigError(
        f"engine.options.max_model_len: config.json of {model.name} does not say how many tokens "
        "the model's context has; set it here"
    )


def cache_bytes_per_token(model: ModelSpec) -> int | None:
    """Bytes of a token in the KV cache: keys and values of all layers, two bytes a number.

    None if the model's `config.json` does not tell, or its cache holds something else.
    """
    config = model_config(model)
    inner = config.get("text_config")
    section = inner if isinstance(inner, Mapping) else config
    heads = section.get("num_attention_heads")
    layers, kv_heads = section.get("num_hidden_layers"), section.get("num_key_value_heads") or heads
    width = section.get("head_dim") or (section["hidden_size"] // heads if heads else None)
    if not (layers and kv_heads and width) or "kv_lora_rank" in section:
        return None
    return int(2 * 2 * layers * kv_heads * width)


def model_config(model: ModelSpec) -> dict[str, Any]:
    """The model's `config.json`; raises `EngineError` if it cannot be read."""
    try:
        config = orjson.loads(_content(model, "config.json"))
    except OvernightError:
        raise
    except Exception as error:  # the hub's client raises exceptions of many families
        raise EngineError(f"engine.model: {model.name}: {describe(error)}") from error
    return config if isinstance(config, dict) else {}


def chat_template(model: ModelSpec) -> str | None:
    """The text of the job's or the model's chat template, without loading the tokenizer."""
    if model.chat_template is not None:
        return model.chat_template
    with suppress(FileNotFoundError):
        return _content(model, "chat_template.jinja").decode()
    with suppress(FileNotFoundError, orjson.JSONDecodeError):
        found = orjson.loads(_content(model, "tokenizer_config.json")).get("chat_template")
        if isinstance(found, list):  # several, by name
            found = {entry["name"]: entry["template"] for entry in found}.get("default")
        return found if isinstance(found, str) else None
    return None


def _content(model: ModelSpec, name: str) -> bytes:
    """A small file of the model; raises `FileNotFoundError` if the model does not have it."""
    files = model_files(model, weights=False)
    if Path(files.where).is_dir():
        return Path(files.where, name).read_bytes()
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return Path(hf_hub_download(files.where, name, revision=files.revision)).read_bytes()
    except EntryNotFoundError as error:  # not on the hub, or not in the cache without a network
        raise FileNotFoundError(str(error)) from error


def _fetched(source: Location, weights: bool, key: str) -> Path:
    """A folder on this node with all files of a model.

    Its name is a hash of the store's listing, so that a model replaced under the same URI gets
    another folder. *Crash window:* a kill during the fetch leaves a folder named `*.partial`; the
    next fetch starts it again.
    """
    from filelock import FileLock

    entries = source.entries().items()
    listing = {path: e for path, e in entries if weights or not path.endswith(_WEIGHTS)}
    if not listing:
        raise EngineError(f"{key}: {source.uri}: no model files there")
    root = Path(os.environ.get(CACHE) or Path.home() / ".cache" / "overnight") / "models"
    root.mkdir(parents=True, exist_ok=True)
    folder = root / _fingerprint(source.uri, listing)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            targets = [str(partial / path[len(source.path) :].lstrip("/")) for path in listing]
            with storage_errors(source.uri):
                source.fs.get(list(listing), targets)
            partial.rename(folder)
    return folder


def _fingerprint(uri: str, listing: Mapping[str, Entry]) -> str:
    facts = [[path, entry.size, str(entry.etag)] for path, entry in listing.items()]
    return blake2b(orjson.dumps([uri, facts]), digest_size=16).hexdigest()
