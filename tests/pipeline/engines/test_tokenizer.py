"""A prompt's text is what the model reads: its tokens are those of this text, and no others."""

from itertools import product
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from pipeline.core.records import PLAIN, Message
from pipeline.engines.model_files import ModelSpec
from pipeline.engines.tokenizer import PromptEncoder, load_encoder

CHATS = [
    tuple(Message(role, words) for role, words in zip(roles, texts, strict=True))
    for roles, texts in product(
        [("user", "user"), ("system", "user"), ("user", "assistant")],
        [("Why?", "So."), ("", "Two\n\nparagraphs"), ("<s> in words", "end</s>")],
    )
]


@pytest.fixture(scope="module")
def encoder(tiny_model: Path) -> PromptEncoder:
    return load_encoder(ModelSpec(str(tiny_model)))


@pytest.mark.parametrize("messages", CHATS)
def test_the_text_of_a_chat_has_the_special_tokens_and_gives_the_very_tokens(
    encoder, tiny_model, messages
):
    text = encoder.text(messages)
    assert text.startswith(f"<s><|{messages[0].role}|>{messages[0].content}</s>")
    assert text.endswith(f"<|{messages[1].role}|>{messages[1].content}</s><|assistant|>")
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    assert encoder.encode(messages) == tokenizer.encode(text, add_special_tokens=False)


@pytest.mark.parametrize("words", ["Why?", "Two\n\nparagraphs", ""])
def test_a_ready_prompt_is_its_own_text(encoder, tiny_model, words):
    messages = (Message(PLAIN, words),)
    assert encoder.text(messages) == words
    assert encoder.encode(messages) == AutoTokenizer.from_pretrained(tiny_model).encode(words)
