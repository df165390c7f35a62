"""Messages to the tokens that a model reads."""

from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

import orjson

from pipeline.core.errors import ConfigError, EngineError, describe
from pipeline.core.records import PLAIN, Fault, Message
from pipeline.engines.chat_template import unread_kwargs
from pipeline.engines.model_files import ModelSpec, model_files


class PromptEncoder:
    """A model's tokenizer and chat template.

    The template formats chats; `kwargs` are names that it reads. A plain prompt is encoded as it
    is; so is a chat if the model has no template: its contents, joined by blank lines.
    """

    def __init__(self, tokenizer: Any, kwargs: Mapping[str, Any] = MappingProxyType({})) -> None:
        self.tokenizer = tokenizer
        self._kwargs = kwargs

    @property
    def has_template(self) -> bool:
        return bool(self.tokenizer.chat_template)

    @property
    def described_template(self) -> str:
        """Whether there is a template, and which of the job's arguments it never reads."""
        if not self.has_template:
            return "no chat template: chats go as text"
        unread = unread_kwargs(str(self.tokenizer.chat_template), self._kwargs)
        names = ", ".join(f"engine.chat_template_kwargs.{name}" for name in unread)
        return f"a chat template, which never reads {names}" if unread else "a chat template"

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a whole prompt; raises `Fault` for a chat that the template refuses."""
        # The template has written the special tokens at the beginning already.
        plain = not self.formats(messages)
        return list(self.tokenizer.encode(self.text(messages), add_special_tokens=plain))

    def text(self, messages: Sequence[Message]) -> str:
        """A whole prompt as the model reads it, with what the chat template writes around it.

        Raises `Fault` for a chat that the template refuses.
        """
        if not self.formats(messages):
            return "\n\n".join(m.content for m in messages)
        return self._chat(messages, add_generation_prompt=True)

    def opening(self, messages: Sequence[Message]) -> str:
        """What the chat template writes behind the last message, where the model's answer begins.

        Empty for a plain prompt and for a model without a template. Raises `Fault` as `text` does.
        """
        if not self.formats(messages):
            return ""
        opened = self._chat(messages, add_generation_prompt=True)
        closed = self._chat(messages, add_generation_prompt=False)
        if opened != closed and opened.startswith(closed):
            return opened.removeprefix(closed)
        # Some templates begin the answer whether they are told to or not.
        content = messages[-1].content.strip()
        return opened.rpartition(content)[2] if content and content in opened else ""

    def _chat(self, messages: Sequence[Message], add_generation_prompt: bool) -> str:
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    [self._named(message) for message in messages],
                    tokenize=False,
                    add_generation_prompt=add_generation_prompt,
                    **self._kwargs,
                )
            )
        except Exception as error:  # a template may raise anything
            why = f"the model's chat template refuses it: {describe(error)}"
            raise Fault("wrong_type", why) from error

    def formats(self, messages: Sequence[Message]) -> bool:
        """Whether the chat template formats these messages."""
        return self.has_template and messages[0].role != PLAIN

    def _named(self, message: Message) -> dict[str, str]:
        """A message for the chat template. Developers speak as the system does where the template
        knows no `developer`: OpenAI's newer name for the same role.
        """
        if message.role == "developer" and "developer" not in str(self.tokenizer.chat_template):
            return {"role": "system", "content": message.content}
        return message._asdict()

    def check_shape(self, sample: Sequence[Message]) -> None:
        """Raises `ConfigError` if the chat template refuses prompts with the sample's roles."""
        try:
            if sample:
                self.encode(sample)
        except Fault as fault:
            roles = " and ".join(message.role for message in sample)
            raise ConfigError(
                f"prompt: the template makes {roles} messages, and {fault}"
            ) from fault


def load_encoder(model: ModelSpec) -> PromptEncoder:
    """Loads a model's encoder, in seconds; raises `EngineError` if its files cannot be read."""
    from transformers import AutoTokenizer

    files = model_files(model, weights=False)
    source = model.tokenizer or files.where
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source,
            revision=model.tokenizer_revision or files.revision,
            trust_remote_code=model.trust_remote_code,
        )
    except Exception as error:  # transformers and the hub's client raise of many families
        raise EngineError(f"engine.model: tokenizer of {source}: {describe(error)}") from error
    if model.chat_template is not None:
        tokenizer.chat_template = model.chat_template
    return PromptEncoder(tokenizer, orjson.loads(model.chat_template_kwargs))


@cache
def shared_encoder(model: ModelSpec) -> PromptEncoder:
    """The encoder of a model, loaded once a process; for one thread at a time."""
    return load_encoder(model)
