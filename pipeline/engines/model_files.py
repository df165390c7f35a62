"""Where a model's files are: in a folder, in an object store, or on the hub.

What lies in an object store is fetched to the node once, whatever many processes there want it.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from pipeline.config.schema import Job
from pipeline.core.errors import ConfigError, EngineError, describe
from pipeline.core.filesystem import Location, Storage, storage_errors

CACHE = "OVERNIGHT_CACHE"
"""The environment's name for the folder that fetched models are kept in."""

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx")
_CONTEXT = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """What a loader takes: a folder, or a name on the hub with its revision."""

    where: str
    revision: str | None = None


def model_files(job: Job, weights: bool) -> ModelFiles:
    """The job's model; out of an object store it is fetched, with its weights or without them.

    Raises `EngineError` for a folder or store that holds no model.
    """
    model = job.engine.model or ""
    if "://" in model:
        return ModelFiles(str(_fetched(Storage(job.storage).at(model), weights)))
    if Path(model).is_dir():
        return ModelFiles(model)
    if model.startswith((".", "/", "~")):
        raise EngineError(f"engine.model: {model}: no folder there, on this node")
    return ModelFiles(model, job.engine.revision)


def context_tokens(job: Job) -> int:
    """Tokens that the job's model holds, prompt and answer together.

    That is `engine.options.max_model_len` where the job sets it, and what the model's `config.json`
    says where it does not.
    """
    given = job.engine.options.get("max_model_len")
    if isinstance(given, int) and given > 0:
        return given
    config = _config(job)
    inner = config.get("text_config")
    for held in (config, inner if isinstance(inner, Mapping) else {}):
        for name in _CONTEXT:
            if isinstance(held.get(name), int):
                return int(held[name])
    raise ConfigError(
        f"engine.options.max_model_len: config.json of {job.engine.model} does not say how many "
        "tokens the model holds; say it here"
    )


def cache_bytes_per_token(job: Job) -> int | None:
    """What a token takes in the cache of the job's model, keys and values at two bytes a number.

    None where the model's `config.json` does not tell, or keeps something else than both.
    """
    config = _config(job)
    inner = config.get("text_config")
    held = inner if isinstance(inner, Mapping) else config
    heads = held.get("num_attention_heads")
    layers, kv_heads = held.get("num_hidden_layers"), held.get("num_key_value_heads") or heads
    width = held.get("head_dim") or (held["hidden_size"] // heads if heads else None)
    if not (layers and kv_heads and width) or "kv_lora_rank" in held:
        return None
    return int(2 * 2 * layers * kv_heads * width)


def _config(job: Job) -> dict[str, Any]:
    from huggingface_hub import hf_hub_download

    files = model_files(job, weights=False)
    try:
        path = Path(files.where, "config.json")
        if not Path(files.where).is_dir():
            path = Path(hf_hub_download(files.where, "config.json", revision=files.revision))
        config = orjson.loads(path.read_bytes())
    except Exception as error:  # the hub's client raises of many families
        raise EngineError(f"engine.model: {job.engine.model}: {describe(error)}") from error
    return config if isinstance(config, dict) else {}


def _fetched(source: Location, weights: bool) -> Path:
    """A folder on this node with the files of a model; complete, or not there.

    Its name covers what the store says of every file, so that a model replaced under the same URI
    is another folder. *Crash window:* a kill while files arrive leaves a folder whose name ends in
    `.partial`, which the next fetch begins anew.
    """
    from filelock import FileLock

    with storage_errors(source.uri):
        listed = {
            path: info
            for path, info in sorted(source.fs.find(source.path, detail=True).items())
            if weights or not path.endswith(_WEIGHTS)
        }
    if not listed:
        raise EngineError(f"engine.model: {source.uri}: no file of a model there")
    root = Path(os.environ.get(CACHE) or Path.home() / ".cache" / "overnight") / "models"
    root.mkdir(parents=True, exist_ok=True)
    folder = root / _fingerprint(source.uri, listed)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            targets = [str(partial / path[len(source.path) :].lstrip("/")) for path in listed]
            with storage_errors(source.uri):
                source.fs.get(list(listed), targets)
            partial.rename(folder)
    return folder


def _fingerprint(uri: str, listed: Mapping[str, Mapping[str, Any]]) -> str:
    facts = [[path, info.get("size"), str(info.get("ETag"))] for path, info in listed.items()]
    return blake2b(orjson.dumps([uri, facts]), digest_size=16).hexdigest()
