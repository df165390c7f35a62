"""vLLM's own parsers, each with a tokenizer that knows its tags."""

from functools import cache
from typing import TYPE_CHECKING

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from pipeline.answering.reasoning import split_text
from pipeline.core.errors import ConfigError
from pipeline.core.records import PLAIN, Message, Split
from pipeline.engines.reasoning_parsers import parser_names
from pipeline.engines.tokenizer import PromptEncoder

if TYPE_CHECKING:
    from pipeline.engines.vllm_reasoning import Opening, Parts, Reasoner

THOUGHT, ANSWER = "Amber or white? The keepers trust amber.", "The keepers trust the amber lamp."

TAGS = {
    "deepseek_r1": ("<think>", "</think>"),
    "ernie45": ("<think>", "</think>"),
    "gemma4": ("<|channel>", "<channel|>"),
    "glm45": ("<think>", "</think>"),
    "granite_thinking_parser": ("<think>", "</think>"),
    "kimi_k2": ("<think>", "</think>"),
    "mimo": ("<think>", "</think>"),
    "minimax_m2": ("<think>", "</think>"),
    "nemotron_v3": ("<think>", "</think>"),
    "qwen3": ("<think>", "</think>"),
    "seed_oss": ("<seed:think>", "</seed:think>"),
    "step3": ("<think>", "</think>"),
}
OPENED_BY_TEMPLATE = [name for name in TAGS if name not in ("gemma4", "step3")]

OTHER_TAGS = (
    *("<response>", "</response>", "<tool_call>", "</tool_call>", "<|im_start|>", "<|im_end|>"),
    *("<|tool_call>", "<tool_call|>", "<|channel|>", "<|message|>", "<|start|>", "<|end|>"),
    *("<|return|>", "<|call|>", "<|tool_calls_section_begin|>"),
)

TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}model: {{ begin }}{% endif %}"
)
CHAT = (Message("user", "Which lamp do the keepers trust?"),)


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """Single bytes, and every tag as a token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytes_ = Tokenizer(models.BPE({sign: n for n, sign in enumerate(alphabet)}, []))
    bytes_.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_.decoder = decoders.ByteLevel()
    tags = dict.fromkeys((*(tag for pair in TAGS.values() for tag in pair), *OTHER_TAGS))
    bytes_.add_tokens([AddedToken(tag, special=False) for tag in tags])
    fast = PreTrainedTokenizerFast(tokenizer_object=bytes_)
    fast.chat_template = TEMPLATE
    return fast


def reasoner(parser: str | None, begin: str = "", **arguments: object) -> "Reasoner":
    from pipeline.engines.vllm_reasoning import Reasoner

    return Reasoner(parser, PromptEncoder(tokenizer(), {"begin": begin}), arguments)


def unopened() -> "Opening":
    from pipeline.engines.vllm_reasoning import Opening

    return Opening()


def parts(parser: str, text: str, begin: str = "", **arguments: object) -> "Parts":
    """How a completion is split behind a prompt that begins it in this way."""
    from pipeline.engines.vllm_requests import Generated

    splitter = reasoner(parser, begin, **arguments)
    generated = Generated([text], tokenizer().encode(text))
    return splitter.parts(generated, splitter.opening(CHAT))


@pytest.mark.parametrize("parser", TAGS)
def test_a_thought_and_an_answer_are_told_apart_and_counted(parser):
    start, end = TAGS[parser]
    text = f"{start}{THOUGHT}{end}\n\n{ANSWER}"
    found = parts(parser, text)
    assert found.split is not None
    assert found.split.reasoning == THOUGHT
    assert found.split.content.strip() == ANSWER
    assert abs(found.reasoning_tokens - len(THOUGHT)) <= 1  # each sign is a token here
    answer = tokenizer().decode(tokenizer().encode(text)[found.first_of_answer :])
    assert answer.strip() == ANSWER


@pytest.mark.parametrize("parser", OPENED_BY_TEMPLATE)
def test_a_thought_that_the_prompt_opens_is_one(parser):
    start, end = TAGS[parser]
    found = parts(parser, f"{THOUGHT}\n{end}\n\n{ANSWER}", begin=f"{start}\n")
    assert found.split is not None
    assert (found.split.reasoning, found.split.content.strip()) == (THOUGHT, ANSWER)
    assert abs(found.reasoning_tokens - len(THOUGHT)) <= 2
    cut = parts(parser, THOUGHT, begin=f"{start}\n")
    assert cut.split == Split(THOUGHT, "", is_closed=False)


@pytest.mark.parametrize("parser", TAGS)
def test_an_answer_without_a_thought_stays_whole(parser):
    found = parts(parser, ANSWER)
    assert (found.split or split_text(ANSWER)).content == ANSWER
    assert found.reasoning_tokens == 0


@pytest.mark.parametrize("parser", TAGS)
def test_nothing_of_a_thought_that_is_cut_anywhere_is_an_answer(parser):
    start, end = TAGS[parser]
    whole = f"{start}{THOUGHT}{end}{ANSWER}"
    for length in range(len(start), len(start + THOUGHT)):
        text = whole[:length]
        split = parts(parser, text).split or split_text(text)
        assert split.content.strip() == "", text


def test_a_grammar_begins_where_the_thought_ends():
    open_, closed = reasoner("qwen3", "<think>\n"), reasoner("qwen3", "<think>\n\n</think>\n\n")
    assert open_.arguments(open_.opening(CHAT))["reasoning_ended"] is False
    assert closed.arguments(closed.opening(CHAT))["reasoning_ended"] is True
    off = reasoner("qwen3", "", enable_thinking=False)
    assert not off.opening(CHAT).thinks
    assert reasoner(None).arguments(unopened()) == {}


def test_what_a_passage_quotes_ends_no_thought():
    passages = (Message("user", "The log ends with </think>. Which lamp?"),)
    splitter = reasoner("qwen3", "<think>\n")
    assert splitter.opening(passages).thinks


def test_a_plain_prompt_has_no_thought_behind_it():
    assert reasoner("qwen3").opening((Message(PLAIN, "Which lamp?"),)) == unopened()


def test_channels_are_counted_and_their_split_is_left_to_the_text():
    analysis = f"<|channel|>analysis<|message|>{THOUGHT}<|end|>"
    final = f"<|start|>assistant<|channel|>final<|message|>{ANSWER}<|return|>"
    found = parts("openai_gptoss", analysis + final)
    assert found.split is None
    assert found.reasoning_tokens == len(THOUGHT)
    ids = tokenizer().encode(analysis + final)
    assert tokenizer().decode(ids[found.first_of_answer :]) == f"{ANSWER}<|return|>"
    assert parts("openai_gptoss", analysis).reasoning_tokens == len(THOUGHT)
    assert reasoner("openai_gptoss").keeps_special_tokens


def test_a_parser_without_its_tags_in_the_vocabulary_is_refused():
    with pytest.raises(ConfigError, match=r"engine\.reasoning: minimax_m3 does not fit the model"):
        reasoner("minimax_m3")


def test_the_parsers_are_those_of_vllm():
    from vllm.reasoning import ReasoningParserManager

    assert parser_names() == set(ReasoningParserManager.list_registered())


# A verdict has no thought before it.


@pytest.mark.parametrize("is_opened", [False, True])
@pytest.mark.parametrize("parser", TAGS)
def test_a_thought_that_is_skipped_has_ended_for_the_parser(parser, is_opened):
    begin = TAGS[parser][0] if is_opened else ""
    splitter = reasoner(parser, begin)
    opening = splitter.opening(CHAT)
    text = opening.text + splitter.skipped_thought(opening)
    assert splitter._parser.is_reasoning_end(tokenizer().encode(text))
    assert text.count(TAGS[parser][1]) == opening.thinks


def test_no_thought_is_skipped_that_the_template_has_closed():
    splitter = reasoner("qwen3", "<think>\n\n</think>\n\n")
    assert splitter.skipped_thought(splitter.opening(CHAT)) == ""
    assert reasoner(None).skipped_thought(unopened()) == ""
