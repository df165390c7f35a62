"""LoRA adapters made for tests, as PEFT saves them: random weights for some modules of a Llama."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

MODULES = {"self_attn.q_proj": (1, 1), "self_attn.v_proj": (1, 1), "mlp.down_proj": (1, 2)}
"""Rows and columns in multiples of the hidden size, as in `tests.support.models`."""


def make_adapter(
    folder: Path,
    hidden: int = 64,
    layers: int = 2,
    rank: int = 4,
    modules: Sequence[str] = tuple(MODULES),
    **config: Any,
) -> Path:
    """An adapter in `folder`, the same for the same arguments; it changes what a model says."""
    from safetensors.numpy import save_file

    random = np.random.default_rng(7)
    tensors = {}
    for layer in range(layers):
        for module in modules:
            rows, columns = (hidden * n for n in MODULES.get(module, (1, 1)))
            name = f"base_model.model.model.layers.{layer}.{module}"
            tensors[f"{name}.lora_A.weight"] = random.normal(size=(rank, columns))
            tensors[f"{name}.lora_B.weight"] = random.normal(size=(rows, rank))
    folder.mkdir(parents=True, exist_ok=True)
    small = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
    save_file(small, folder / "adapter_model.safetensors")
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 16,
        "target_modules": [module.rpartition(".")[2] for module in modules],
        **config,
    }
    (folder / "adapter_config.json").write_bytes(orjson.dumps(settings))
    return folder
