"""Models of a given shape, made on the spot, whose weights vLLM fills in by itself.

There is a configuration and a tokenizer, and no weights: for `load_format: dummy`. What a model of
that shape says is noise; how long it takes is not.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import orjson

SPECIAL = ["<|im_start|>", "<|im_end|>"]

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

TRAINED_TOKENS = 32_000
"""Of a tokenizer's vocabulary; the texts at hand have no more. The rest of it is never encoded."""


@dataclass(frozen=True)
class Shape:
    """A Qwen3, whose heads are 128 wide."""

    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    context: int = 40_960


SHAPES = {
    "8b": Shape(4096, 12_288, 36, 32, 8, 151_936),
    "32b": Shape(5120, 25_600, 64, 64, 8, 151_936),
    "tiny": Shape(128, 256, 2, 2, 1, 4096),
}
"""`8b` and `32b` are those of Qwen3-8B and Qwen3-32B."""


def make_shape(folder: Path, shape: Shape, texts: Iterable[str]) -> Path:
    """A model's folder without weights; its tokenizer is trained on the texts."""
    from transformers import Qwen3Config

    folder.mkdir(parents=True)
    _make_tokenizer(folder, shape.vocabulary, texts)
    Qwen3Config(
        architectures=["Qwen3ForCausalLM"],
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=128,
        max_position_embeddings=shape.context,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=1,
        dtype="bfloat16",
    ).save_pretrained(folder)
    return folder


def _make_tokenizer(folder: Path, vocabulary: int, texts: Iterable[str]) -> None:
    """A byte-level BPE tokenizer that can decode every token of the vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=min(vocabulary, TRAINED_TOKENS),
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    whole = orjson.loads(tokenizer.to_str())
    known = whole["model"]["vocab"]
    known |= {f"unused{n}": n for n in range(len(known), vocabulary)}
    fast = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(orjson.dumps(whole).decode()),
        eos_token=SPECIAL[1],
        pad_token=SPECIAL[1],
    )
    fast.chat_template = CHATML
    fast.save_pretrained(folder)
