"""The marks with which the formats of model families open and close a thought.

After the families' chat templates and documentation, and vLLM's parsers for them. Harmony, which
names each message's channel, is in `harmony`.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

WORDS = (
    "think",  # DeepSeek, Qwen, GLM, Nemotron, Kimi, MiniMax, Hunyuan, ERNIE, OLMo, Phi, Step, …
    "thinking",
    "thought",  # EXAONE Deep, Marco-o1
    "thoughts",
    "reasoning",  # Reka
    "seed:think",  # Seed-OSS
    "mm:think",  # MiniMax M3
    "longcat_think",
    "ifm|think",  # K2 Horizon, by its effort
    "ifm|think_fast",
    "ifm|think_faster",
)
"""Names of tags in angle brackets, `<think>` to `</think>`; Hunyuan adds a suffix, `<think:a1>`."""


class Format(NamedTuple):
    """The spellings of a format's marks; those in `answers` stand at the beginning of an answer,
    behind a closing mark or in its place.
    """

    openings: tuple[str, ...]
    closings: tuple[str, ...]
    answers: tuple[str, ...] = ()
    closes_alone: bool = True  # without an opening mark; not if it ends other things as well
    opens_anywhere: bool = True  # or only at the beginning, if any text may say the same


FORMATS = (
    Format(("[THINK]",), ("[/THINK]",)),  # Magistral, Ministral
    Format(("◁think▷",), ("◁/think▷",)),  # Kimi-VL
    Format(("<|channel>thought\n", "<|channel>"), ("<channel|>",)),  # Gemma 4
    Format(("<unused94>thought\n", "<unused94>"), ("<unused95>",)),  # MedGemma
    Format(  # Sky-T1, OpenThinker
        ("<|begin_of_thought|>",), ("<|end_of_thought|>",), ("<|begin_of_solution|>",)
    ),
    Format(  # Cohere Command A
        ("<|START_THINKING|>",), ("<|END_THINKING|>",), ("<|START_RESPONSE|>", "<|START_TEXT|>")
    ),
    Format(("<|inner_prefix|>",), ("<|inner_suffix|>",)),  # Apertus
    Format(("<|plamo:begin_think:plamo|>",), ("<|plamo:end_think:plamo|>",)),  # PLaMo 3
    Format(  # Kimi K3
        ("<|open|>think<|sep|>",), ("<|close|>think<|sep|>",), ("<|open|>response<|sep|>",)
    ),
    Format(  # Inkling
        ("<|message_model|><|content_thinking|>", "<|content_thinking|>"),
        ("<|end_message|>",),
        ("<|message_model|><|content_text|>", "<|content_text|>"),
        closes_alone=False,
    ),
    Format(  # Solar Open
        ("<|begin|>assistant<|think|>", "<|think|>"),
        ("<|end|>",),
        ("<|begin|>assistant<|content|>", "<|content|>"),
        closes_alone=False,
    ),
    Format(  # Muse Glimmer
        ("<|start|>assistant to=self<|message|>", "to=self<|message|>"),
        ("<|eom|>",),
        ("<|start|>assistant to=user<|message|>", "to=user<|message|>"),
        closes_alone=False,
    ),
    Format(  # Granite 3
        ("Here is my thought process:", "Here's my thought process:"),
        ("Here is my response:", "Here's my response:"),
        closes_alone=False,
        opens_anywhere=False,
    ),
    Format((), ("[BEGIN FINAL RESPONSE]",)),  # Apriel, whose chat template opens the thought
)

HINTS = ("<|", "|>", "▷", "<unused", "THINK]", "RESPONSE]", " my thought process:")
"""One of these is in every opening mark, and in every mark that closes alone."""

_HEAD = re.compile(
    r"\s*(?:(?:<s>|<bos>|<\|begin_of_text\|>|<\|im_start\|>assistant|<｜Assistant｜>|<\|assistant\|>"
    r"|<\|start_header_id\|>assistant<\|end_header_id\|>|<\|assistant_start\|>|\[\|assistant\|\]"
    r"|<\|start_of_role\|>assistant<\|end_of_role\|>|<start_of_turn>model|<\|turn>model"
    r"|<\|START_OF_TURN_TOKEN\|>|<\|CHATBOT_TOKEN\|>)\s*)*"
)
_TAG = re.compile(rf"<(/?)(?=[a-zA-Z])((?i:{'|'.join(map(re.escape, WORDS))}))(?::\w+)?>")


class Spelling(NamedTuple):
    text: str
    format: int  # its place in `FORMATS`
    opens: bool


class Mark(NamedTuple):
    """A mark in a text. The last two are known only from the text around it."""

    name: str  # of its tag or format: a thought is closed by a mark of the same name
    opens: bool
    start: int
    end: int
    closes_alone: bool = True
    opens_anywhere: bool = True
    is_inline: bool = False  # words stand before it on its line
    is_named: bool = False  # it is a word of the sentence around it


def head_of(text: str) -> int:
    """Where the tokens end with which a chat template begins the model's turn."""
    match = _HEAD.match(text)
    return match.end() if match else 0


def begins_with_opening(text: str) -> bool:
    """Whether a text begins with an opening mark."""
    marks = find_marks(text)
    return bool(marks) and marks[0].opens and not text[head_of(text) : marks[0].start].strip()


def is_cut_opening(text: str) -> bool:
    """Whether a text is but the beginning of an opening mark."""
    if len(text) > _LONGEST:
        return False
    cut = text.strip()
    return len(cut) > 1 and any(opening.startswith(cut) for opening in _CUT)


def find_marks(text: str) -> list[Mark]:
    """All marks of all formats in a text, in order, whatever they mean there."""
    marks = [_of_tag(match) for match in _TAG.finditer(text)] if "<" in text else []
    if any(hint[-1] in text and hint in text for hint in HINTS):  # a single character is quick
        marks += map(_of_format, _ANY.finditer(text))
        marks.sort(key=lambda mark: mark.start)
    return marks


def _of_tag(match: re.Match[str]) -> Mark:
    return Mark(match[2].lower(), not match[1], match.start(), match.end())


def _of_format(match: re.Match[str]) -> Mark:
    spelling = SPELLINGS[(match.lastindex or 1) - 1]
    format_ = FORMATS[spelling.format]
    return Mark(
        str(spelling.format),
        spelling.opens,
        match.start(),
        match.end(),
        format_.closes_alone or match[0].endswith(format_.answers),
        format_.opens_anywhere,
    )


def _spellings() -> Iterator[Spelling]:
    for number, format_ in enumerate(FORMATS):
        for opening in format_.openings:
            yield Spelling(opening, number, opens=True)
        for closing in (*format_.closings, *format_.answers):
            yield Spelling(closing, number, opens=False)


def _group(spelling: Spelling) -> str:
    """A pattern for a mark; an answer's mark that follows a closing one belongs to it."""
    answers = "|".join(map(re.escape, FORMATS[spelling.format].answers))
    is_closing = spelling.text in FORMATS[spelling.format].closings
    behind = rf"(?:\s*(?:{answers}))?" if is_closing and answers else ""
    return f"({re.escape(spelling.text)}{behind})"


SPELLINGS = sorted(_spellings(), key=lambda spelling: -len(spelling.text))
_ANY = re.compile("|".join(map(_group, SPELLINGS)))
_CUT = (
    *(f"<{word}>" for word in WORDS),
    *(s.text for s in SPELLINGS if s.opens and not s.text[0].isalpha()),
    "<|channel|>analysis<|message|>",
)
_LONGEST = max(map(len, _CUT))
