"""Language models made for tests: real architecture, real tokenizer, random weights.

They exercise all of vLLM; their answers are meaningless.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from tests.support.jobs import ROOT

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CHAT_TEMPLATE = (
    "<s>{% for message in messages %}<|{{ message.role }}|>{{ message.content }}</s>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""One special token a turn."""

NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('system is not supported') }}"
    "{% endif %}"
)
"""In front of a chat template, it refuses system messages, as some models do."""


@dataclass(frozen=True)
class Tokens:
    """A model's tokens for what is no text, and `added` ones for text that is one token each."""

    special: tuple[str, ...]
    begin: str | None
    end: str
    padding: str
    added: tuple[str, ...] = ()


TURNS = Tokens(("<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>"), "<s>", "</s>", "</s>")


@dataclass(frozen=True)
class Size:
    hidden: int
    layers: int
    vocabulary: int


TINY = Size(hidden=64, layers=2, vocabulary=2000)  # 0.3 million parameters
MIDDLING = Size(
    hidden=512, layers=8, vocabulary=4000
)  # 25 million parameters: the model outweighs the pipeline


def make_model(
    folder: Path,
    size: Size = TINY,
    context: int = 8192,
    chat_template: str = CHAT_TEMPLATE,
    texts: Iterable[str] = (),
) -> Path:
    """A Llama of the given size in `folder`, the same for the same arguments.

    Its tokenizer is trained on `texts`, or on the bundled samples.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    texts = texts or sample_texts()
    vocabulary = len(make_tokenizer(folder, size.vocabulary, chat_template, texts, TURNS))
    torch.manual_seed(7)
    heads = size.hidden // 64
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=size.hidden,
        intermediate_size=size.hidden * 2,
        num_hidden_layers=size.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=context,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    # By itself a random model ends one answer in several thousand.
    settings = {"bos_token_id": 0, "eos_token_id": 1, "temperature": 0.9}
    (folder / "generation_config.json").write_bytes(orjson.dumps(settings))
    return folder


def make_tokenizer(
    folder: Path, vocabulary: int, chat_template: str, texts: Iterable[str], tokens: Tokens
) -> "PreTrainedTokenizerFast":
    """A byte-level BPE tokenizer, trained on `texts` and saved in `folder`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(tokens.special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens(list(tokens.added))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=tokens.begin,
        eos_token=tokens.end,
        pad_token=tokens.padding,
    )
    fast.chat_template = chat_template or None
    fast.save_pretrained(folder)
    return fast


def sample_texts() -> Iterator[str]:
    """The bundled samples, as they are."""
    for path in sorted(ROOT.glob("conf/demo/shards/text/*.txt")):
        yield path.read_text(encoding="utf-8")
