"""A LoRA adapter: where it is, and whether it fits the job's model.

vLLM copies weights that are too small into the corner of its own, and leaves out layers that the
model does not have; so that is looked at here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from pipeline.config.schema import Job
from pipeline.core.errors import EngineError, describe
from pipeline.engines.model_files import ModelSpec, is_folder, model_files
from pipeline.engines.option_source import option_type
from pipeline.engines.option_types import Choice
from pipeline.engines.safetensors import Shape, shapes_in

CONFIG = "adapter_config.json"
RANK = "max_lora_rank"

_TENSOR = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_IN_LAYER = re.compile(r"\blayers\.(\d+)\..+")
"""The part of a module's name that is the same whatever the model is wrapped in."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter on this node, and the largest rank of its modules."""

    name: str
    folder: Path
    rank: int

    def arguments(self) -> dict[str, Any]:
        """vLLM's engine arguments for it; raises `EngineError` for a rank beyond vLLM's."""
        allowed = [rank for rank in _allowed_ranks() if rank >= self.rank]
        if not allowed:
            raise _unfit(
                self.name, f"has rank {self.rank}; vLLM has {max(_allowed_ranks())} at most"
            )
        return {"enable_lora": True, RANK: allowed[0]}


def adapter_of(job: Job, weights: bool = True) -> Adapter | None:
    """The job's adapter, fetched if it is not on this node; `weights` tells whether with weights.

    Raises `EngineError` for one that is missing, is none, or does not fit the model.
    """
    if not job.engine.adapter:
        return None
    name, spec = job.engine.adapter, _spec(job.engine.adapter, job)
    folder = _folder(spec, weights)
    config = _config(name, folder)
    ranks = [config.get("r"), *dict(config.get("rank_pattern") or {}).values()]
    if not all(isinstance(rank, int) and rank > 0 for rank in ranks):
        raise _unfit(name, f"{CONFIG} has no rank above 0 (r)")
    adapter = Adapter(name, folder, max(ranks))
    adapter.arguments()
    _check_fit(adapter, model_files(ModelSpec.of(job), weights).where)
    return adapter


def _spec(name: str, job: Job) -> ModelSpec:
    """An adapter on the hub may have its revision behind an `@`."""
    revision = None
    if "://" not in name and not is_folder(name, "engine.adapter"):
        name, _, revision = name.partition("@")
    storage = orjson.dumps(job.storage).decode()
    return ModelSpec(name, revision or None, storage=storage, key="engine.adapter")


def _folder(spec: ModelSpec, weights: bool) -> Path:
    files = model_files(spec, weights, CONFIG)
    if Path(files.where).is_dir():
        return Path(files.where)
    from huggingface_hub import snapshot_download

    patterns = [CONFIG, *(["adapter_model.*"] if weights else [])]
    try:
        return Path(snapshot_download(spec.name, revision=spec.revision, allow_patterns=patterns))
    except Exception as error:  # the hub's client raises exceptions of many families
        raise _unfit(spec.name, describe(error)) from error


def _config(name: str, folder: Path) -> dict[str, Any]:
    try:
        config = orjson.loads((folder / CONFIG).read_bytes())
    except FileNotFoundError:
        raise _unfit(name, f"has no {CONFIG}; give an adapter as PEFT saves it") from None
    except (OSError, orjson.JSONDecodeError) as error:
        raise _unfit(name, f"{CONFIG}: {describe(error)}") from None
    if not isinstance(config, dict) or config.get("peft_type", "LORA") != "LORA":
        raise _unfit(name, f"{CONFIG} is not that of a LoRA adapter")
    return config


def _allowed_ranks() -> list[int]:
    ranks = option_type(RANK)
    values = ranks.values if isinstance(ranks, Choice) else ()
    return sorted(value for value in values if isinstance(value, int)) or [2**31]


def _check_fit(adapter: Adapter, model: str) -> None:
    """Compares sizes of weights, as far as both are in files on this node."""
    own, base = dict(_modules(adapter.folder)), shapes_in(Path(model))
    theirs = {m[0]: shape for name, shape in base.items() if (m := _IN_LAYER.search(name))}
    if not own or not theirs:
        return
    layers = 1 + max(map(_layer, theirs))
    for module, shape in own.items():
        if _layer(module) >= layers:
            why = f"changes {module}, and {model} has {layers} layers"
            raise _unfit(adapter.name, why)
        expected = theirs.get(f"{module}.weight", shape)
        if expected != shape:
            here, there = (" × ".join(map(str, size)) for size in (shape, expected))
            why = f"is for a model whose {module} is {here}; in {model} it is {there}"
            raise _unfit(adapter.name, why)


def _layer(name: str) -> int:
    return int(name.split(".")[1])


def _modules(folder: Path) -> Iterator[tuple[str, Shape]]:
    """The modules of an adapter in layers, each with the size of the weights that it changes."""
    sides: dict[str, dict[str, Shape]] = {}
    for name, shape in shapes_in(folder).items():
        if (tensor := _TENSOR.fullmatch(name)) and (module := _IN_LAYER.search(tensor["module"])):
            sides.setdefault(module[0], {})[tensor["side"]] = shape
    for name, both in sides.items():
        match both:
            case {"A": (_, columns), "B": (rows, _)}:
                yield name, (rows, columns)


def _unfit(name: str, why: str) -> EngineError:
    return EngineError(f"engine.adapter: {name}: {why}")
