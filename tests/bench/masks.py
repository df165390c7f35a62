"""What a token costs under enforced decoding, by the library that enforces the format.

Before every token the library computes which tokens may come next. That is processor time, which a
GPU may have to wait for.
"""

import random
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.formats.frame import Frame

VOCABULARY = 128_000
MAX_WORDS = 399
TOKENS = 40
"""Tokens of an answer that are timed: the slower library would take minutes for a whole one."""

_SYLLABLES = [consonant + vowel for consonant in "bdgklmnprstv" for vowel in "aeiou"]
_OPENING = [*"Answer:::\n", "kalo"]


def mask_milliseconds() -> dict[str, float]:
    """The median over the tokens of an answer's first words, for each library."""
    words = [*(chr(n) for n in range(128)), *_words(VOCABULARY - 128)]
    position = {word: at for at, word in enumerate(words)}
    answer = [position[piece] for piece in [*_OPENING, *(w for w in words if w[0] == " ")][:TOKENS]]
    regex = Frame(max_words=MAX_WORDS).constraint.pattern
    return {
        name: statistics.median(open_(words, regex)(answer)) * 1e3
        for name, open_ in (("llguidance", _llguidance), ("xgrammar", _xgrammar))
    }


def _words(number: int) -> list[str]:
    """Invented words, half of them with a space in front, as most tokens of a text have."""
    chance = random.Random(7)
    words: dict[str, None] = {"kalo": None}
    while len(words) < number:
        stem = "".join(chance.choices(_SYLLABLES, k=chance.randint(2, 5)))
        words[chance.choice(["", " "]) + stem] = None
    return list(words)


def _llguidance(words: list[str], regex: str) -> Callable[[list[int]], list[float]]:
    import llguidance.hf
    import llguidance.numpy as bitmasks
    from llguidance import LLMatcher
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    spelled = {_byte_level(word): at for at, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(spelled, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["</s>"])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")
    vocabulary = llguidance.hf.from_tokenizer(fast, n_vocab=len(fast))
    matcher = LLMatcher(vocabulary, LLMatcher.grammar_from_regex(regex))
    mask = bitmasks.allocate_token_bitmask(1, vocabulary.vocab_size)

    def step(token: int) -> None:
        bitmasks.fill_next_token_bitmask(matcher, mask, 0)
        assert matcher.consume_token(token)

    return lambda tokens: list(_timed(step, tokens))


def _xgrammar(words: list[str], regex: str) -> Callable[[list[int]], list[float]]:
    import xgrammar

    vocabulary = xgrammar.TokenizerInfo(
        [*words, "</s>"], vocab_type=xgrammar.VocabType.RAW, stop_token_ids=[len(words)]
    )
    compiled = xgrammar.GrammarCompiler(vocabulary).compile_regex(regex)
    matcher = xgrammar.GrammarMatcher(compiled)
    mask = xgrammar.allocate_token_bitmask(1, vocabulary.vocab_size)

    def step(token: int) -> None:
        matcher.fill_next_token_bitmask(mask)
        assert matcher.accept_token(token)

    return lambda tokens: list(_timed(step, tokens))


def _timed(step: Callable[[int], None], tokens: list[int]) -> Iterator[float]:
    for token in tokens:
        began = time.perf_counter()
        step(token)
        yield time.perf_counter() - began


def _byte_level(word: str) -> str:
    """As byte-level tokenizers spell their vocabulary: a space and a line end are letters."""
    return "".join(chr(256 + ord(c)) if ord(c) <= 32 else _control(c) for c in word)


def _control(character: str) -> str:
    return chr(0x121) if character == "\x7f" else character


def section(scratch: Path) -> list[str]:
    """Its part of docs/benchmarks.md; nothing is written to `scratch`."""
    masks = mask_milliseconds()
    return [
        "## Enforced decoding",
        "",
        f"Processor time per token under the regular expression for at most {MAX_WORDS} words and "
        f"a vocabulary of {VOCABULARY:,}: median over the first {TOKENS} tokens of an answer. vLLM "
        "spends it beside the model's own step, on several cores.",
        "",
        "| library | ms per token |",
        "|---|---:|",
        *(f"| {name} | {cost:,.1f} |" for name, cost in masks.items()),
        "",
    ]
