"""A model's thoughts as services return them, beside an answer or as parts of it."""

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.core.records import FinishReason, Split

_FIELDS = ("reasoning_content", "reasoning")
"""Of a message in chat completions: DeepSeek's name and earlier vLLM's, and today's vLLM's."""

_THOUGHTS = ("thinking", "redacted_thinking", "reasoning")
"""Types of parts of a content (Anthropic, Mistral), and of items of an output (OpenAI)."""

_TAGS = ("think", "thinking", "thought", "seed:think")


def thought_of(message: Mapping[str, Any]) -> str:
    """The thought that stands beside a message's content, or among its parts; mostly none."""
    beside = (message.get(name) for name in _FIELDS)
    found = next((text for text in beside if isinstance(text, str) and text.strip()), "")
    content = message.get("content")
    return found or (thought_in(content) if isinstance(content, list) else "")


def thought_in(parts: Iterable[Any]) -> str:
    """The text of those parts or items that are thoughts; some services keep it to themselves."""
    texts = (_text(part) for part in parts if is_thought(part))
    return "\n\n".join(text for text in texts if text.strip())


def is_thought(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") in _THOUGHTS


def split_of(thought: str, content: str, reason: FinishReason | None) -> Split | None:
    """A thought and the answer behind it; None if there is no thought.

    A thought that nothing follows because the token limit was reached is not closed.
    """
    if not thought.strip():
        return None
    is_closed = bool(content.strip()) or reason != "length"
    return Split(thought.strip(), content.strip(), is_closed)


def as_text(split: Split) -> str:
    """Both parts as one text, in tags in which neither part has words of its own.

    The text alone tells again what was thought.
    """
    tag = next((t for t in _TAGS if not any(f"{t}>" in part for part in split[:2])), _TAGS[0])
    closing = f"\n</{tag}>\n\n{split.content}" if split.is_closed else ""
    return f"<{tag}>\n{split.reasoning}{closing}"


def _text(part: Mapping[str, Any]) -> str:
    """A thought's own text, or that of its pieces; else of its summary."""
    for name in ("thinking", "text", "content", "summary"):
        value = part.get(name)
        if isinstance(value, list):
            value = "\n\n".join(str(p.get("text") or "") for p in value if isinstance(p, Mapping))
        if isinstance(value, str) and value.strip():
            return value
    return ""
