"""A tiny model that thinks: Qwen3's architecture, tags and template, trained on the spot.

Whatever it is asked, it thinks aloud, closes its thought, writes one of a few answers in the frame
and stops. How many characters the last message has decides which of them (`talk_after`). It knows
nothing: what it says has no more to do with the passages than that it is English.

It attends to the last few tokens alone. What stands far away in a prompt cannot confuse it, and a
thought that was cut short leads to the same answer.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import orjson

from tests.support import models
from tests.support.model_cache import made_once
from tests.support.models import Tokens, make_tokenizer, sample_texts

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM


class Talk(NamedTuple):
    thought: str
    answer: str

    @property
    def framed(self) -> str:
        return f"Answer:::\n{self.answer}\nAnswer:::"


TALKS = (
    Talk(
        "Herons, then. The second passage counts them, and I trust that count. I can write it down"
        " as it stands.",
        "Forty herons nested at the pond, as the second passage reports.",
    ),
    Talk(
        "Okay, this is about measurements. Which of the passages has any? The third one does, with"
        " a sensor that was exchanged. Hmm, was it the same place? It was, so the two series can be"
        " compared.",
        "The measurements were repeated in spring with a new sensor, and both series agree within"
        " their errors.",
    ),
    Talk(
        "Let me go through this slowly. The user wants a method. The first passage tells of the"
        " people, not of what they did. The next one tells of the weather. Wait, maybe the last"
        " lines hold it? I read them again, and then once more. No, there is no method anywhere,"
        " and I should not make one up.",
        "The passages do not say which method was used.",
    ),
    Talk(
        "Hmm, water levels. That needs some care, because two passages give numbers and they seem"
        " to differ at first sight. One says two metres over ten years. Another says twenty"
        " centimetres a year. Ah, but that is the same thing said twice! Ten times twenty is two"
        " hundred, which makes two metres. Good. What was the cause, though? Dry summers are named"
        " in one sentence, and nobody speaks against it.",
        "Water levels fell by two metres over ten years, mostly in dry summers.",
    ),
    Talk(
        "Somebody asks what ought to happen next. Authors like to put such wishes at the very end,"
        " so I begin there and walk backwards. The end thanks a foundation. Before it stands a"
        " paragraph on costs. Before that, finally, a recommendation: they would like to have more"
        " animals in their sample. Do they mention a year for it? I look left and right of that"
        " sentence. Nothing. Perhaps in a footnote? There are none here. Then my answer must say"
        " both, the wish itself and the missing date.",
        "The authors recommend a larger sample; they give no date for it.",
    ),
    Talk(
        "Is it public or not? Let me think about what would count as a yes. A link alone would not"
        " be enough, since links can lead to locked doors. A licence would be better. I search for"
        " that word. In the opening passage it is absent. In the middle, something close:"
        " permission was granted to the partners of the project. That is only half of it, and"
        " hardly what was meant by the question. So onward I go. Near the bottom I find what I"
        " need: the catalogue can be had by everybody, for whatever purpose, without a fee. Now"
        " that is as clear as it gets. Should I quote it in full? Better to put it briefly.",
        "Yes, the catalogue is public, and its licence allows any use.",
    ),
)
"""What it thinks and then answers, the shortest thought first."""

CHAT_TEMPLATE = (
    "{% for message in messages %}{% set content = message.content %}"
    "{% if message.role == 'assistant' and '</think>' in content %}"
    "{% set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "<|im_start|>{{ message.role }}\n{{ content }}"
    "{% if message.role == 'user' %}<|talk_{{ content | length % 6 }}|>{% endif %}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n"
    "{% endif %}{% endif %}"
)
"""As Qwen3's: thoughts of earlier turns are left out; one that is switched off is empty. And a
token after each question tells the model what to say."""

TOKENS = Tokens(
    special=(
        *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        *(f"<|talk_{number}|>" for number in range(len(TALKS))),
    ),
    begin=None,
    end="<|im_end|>",
    padding="<|endoftext|>",
    added=("<think>", "</think>", "<tool_call>", "</tool_call>"),
)

HIDDEN, LAYERS, WINDOW, CONTEXT, VOCABULARY = 64, 2, 32, 4096, 1500
STEPS, LESSONS, RATE = 240, 16, 6e-3
IGNORED = -100
"""torch's mark for a token that nothing is learned of."""


def talk_after(message: str) -> Talk:
    """What the model says after a conversation that ends with this message."""
    return TALKS[len(message) % len(TALKS)]


def thinking_model() -> Path:
    """The folder of the model, made by the first who asks."""
    recipe = (Path(__file__), Path(models.__file__))
    return made_once("thinking", b"".join(map(Path.read_bytes, recipe)), make_thinking_model)


def make_thinking_model(folder: Path) -> Path:
    """Makes the model in a folder; takes about half a minute of one core."""
    import torch

    tokenizer = make_tokenizer(folder, VOCABULARY, CHAT_TEMPLATE, _texts(), TOKENS)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng():
            model = _trained(Teacher(tokenizer, random.Random(7)))
    finally:
        torch.set_num_threads(threads)
    model.to(torch.bfloat16).save_pretrained(folder)
    settings = {
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "do_sample": True,
        "temperature": 0.6,
        "top_p": 0.95,
    }
    (folder / "generation_config.json").write_bytes(orjson.dumps(settings))
    return folder


def _texts() -> Iterator[str]:
    """What the tokenizer is made for: each word of the talks is a token or two."""
    yield from sample_texts()
    for talk in TALKS:
        yield from [f"{talk.thought}\n{talk.framed}"] * 50


def _trained(teacher: "Teacher") -> "Qwen3ForCausalLM":
    import torch
    from torch.nn.functional import cross_entropy

    torch.manual_seed(7)
    model = _untrained(teacher.tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, betas=(0.9, 0.95))
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, STEPS)
    for _ in range(STEPS):
        ids, wanted = teacher.lessons()
        learned = wanted[:, 1:] != IGNORED
        scores = model.lm_head(model.model(ids).last_hidden_state[:, :-1][learned])
        cross_entropy(scores, wanted[:, 1:][learned]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rates.step()
        optimizer.zero_grad()
    return model


def _untrained(tokenizer: "PreTrainedTokenizerFast") -> "Qwen3ForCausalLM":
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        intermediate_size=HIDDEN * 2,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=32,
        use_sliding_window=True,
        sliding_window=WINDOW,
        max_window_layers=0,
        max_position_embeddings=CONTEXT,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen3ForCausalLM(config)


class Lesson(NamedTuple):
    """Tokens of which all but the first `given` are to be learned."""

    ids: list[int]
    given: int


@dataclass(frozen=True)
class Teacher:
    """Makes up prompts about nothing, and what is to be said after them."""

    tokenizer: "PreTrainedTokenizerFast"
    rng: random.Random

    @cached_property
    def words(self) -> list[str]:
        return sorted({word for text in sample_texts() for word in text.split()})

    def lessons(self) -> tuple["Tensor", "Tensor"]:
        kinds = (self.thinks, self.is_cut, self.answers, self.is_forced)
        lessons = [kind() for kind in self.rng.choices(kinds, (4, 3, 2, 1), k=LESSONS)]
        return _padded(lessons, self.tokenizer.pad_token_id)

    def thinks(self) -> Lesson:
        prompt, talk = self._prompt()
        rest = self._ids(f"<think>\n{talk.thought}\n</think>\n\n{talk.framed}<|im_end|>")
        return Lesson(prompt + rest, len(prompt))

    def is_cut(self) -> Lesson:
        """A thought that somebody else closes at any token, and perhaps begins the answer."""
        prompt, talk = self._prompt()
        thought = self._ids(f"<think>\n{talk.thought}\n")
        begun = [*prompt, *thought[: self.rng.randrange(len(thought))], *self._ids("</think>")]
        given = self.rng.randrange(2)
        rest = self._ids(("" if given else "\n\n") + f"{talk.framed}<|im_end|>")
        return Lesson(begun + rest, len(begun) + given)

    def answers(self) -> Lesson:
        """Thinking is switched off."""
        prompt, talk = self._prompt(enable_thinking=False)
        return Lesson(prompt + self._ids(f"{talk.framed}<|im_end|>"), len(prompt))

    def is_forced(self) -> Lesson:
        """Somebody else begins the answer without a thought."""
        prompt, talk = self._prompt()
        return Lesson(prompt + self._ids(f"{talk.framed}<|im_end|>"), len(prompt) + 1)

    def _prompt(self, **arguments: bool) -> tuple[list[int], Talk]:
        """A prompt's tokens, and what is to be said after it."""
        question = self._some_words(40)
        earlier: Sequence[dict[str, str]] = [
            {"role": "system", "content": self._some_words(12)},
            {"role": "user", "content": self._some_words(12)},
            {"role": "assistant", "content": self.rng.choice(TALKS).framed},
        ]
        messages = [
            *earlier[: self.rng.choice((0, 0, 1, 3))],
            {"role": "user", "content": question},
        ]
        text = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, **arguments
        )
        return self._ids(str(text)), talk_after(question)

    def _some_words(self, most: int) -> str:
        return " ".join(self.rng.choices(self.words, k=self.rng.randint(2, most)))

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def _padded(lessons: Sequence[Lesson], padding: int) -> tuple["Tensor", "Tensor"]:
    """Token ids and those to be learned, `[lessons, tokens]` both."""
    import torch

    ids = torch.full((len(lessons), max(len(lesson.ids) for lesson in lessons)), padding)
    wanted = torch.full_like(ids, IGNORED)
    for row, lesson in enumerate(lessons):
        ids[row, : len(lesson.ids)] = torch.tensor(lesson.ids)
        wanted[row, lesson.given : len(lesson.ids)] = ids[row, lesson.given : len(lesson.ids)]
    return ids, wanted
