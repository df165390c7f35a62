"""Messages to the tokens that a model reads."""

from collections.abc import Sequence
from typing import Any

from pipeline.config.schema import Job
from pipeline.core.errors import ConfigError, EngineError, describe
from pipeline.core.records import PLAIN, Fault, Message
from pipeline.engines.model_files import model_files


class PromptEncoder:
    """A model's own tokenizer and chat template.

    A chat goes through the template. A plain prompt goes as it stands, and so does a chat where the
    model has no template: the contents, joined by blank lines.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    @property
    def has_template(self) -> bool:
        return bool(self._tokenizer.chat_template)

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a whole prompt; raises `Fault` for a chat that the template refuses."""
        if self._goes_plain(messages):
            return list(self._tokenizer.encode("\n\n".join(m.content for m in messages)))
        try:
            text = self._tokenizer.apply_chat_template(
                [message._asdict() for message in messages],
                tokenize=False,
                add_generation_prompt=True,
            )
        except Exception as error:  # a template raises what it likes
            why = f"the model's chat template refuses it: {describe(error)}"
            raise Fault("wrong_type", why) from error
        # The template has written the special tokens that belong at the beginning.
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def check_shape(self, sample: Sequence[Message]) -> None:
        """Raises `ConfigError` where the template refuses all prompts of the sample's shape."""
        try:
            if sample:
                self.encode(sample)
        except Fault as fault:
            roles = " and ".join(message.role for message in sample)
            raise ConfigError(
                f"prompt: the template makes {roles} messages, and {fault}"
            ) from fault

    def _goes_plain(self, messages: Sequence[Message]) -> bool:
        return not self.has_template or messages[0].role == PLAIN


def load_encoder(job: Job) -> PromptEncoder:
    """The encoder of a job's model, from its small files; takes seconds, once a process.

    Raises `EngineError` where they cannot be read.
    """
    from transformers import AutoTokenizer

    files = model_files(job, weights=False)
    options = job.engine.options
    source = options.get("tokenizer") or files.where
    revision = options.get("tokenizer_revision") or files.revision
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source,
            revision=revision,
            trust_remote_code=bool(options.get("trust_remote_code", False)),
        )
    except Exception as error:  # transformers and the hub's client raise of many families
        raise EngineError(f"engine.model: tokenizer of {source}: {describe(error)}") from error
    return PromptEncoder(tokenizer)
