"""The tokens with which chat templates end a turn; some engines leave them in the text."""

END_TOKENS = (
    "</s>",  # Llama 2, Mistral, Zephyr
    "[/INST]",
    "<|eot_id|>",  # Llama 3
    "<|eom_id|>",
    "<|end_of_text|>",  # Llama 3, Granite
    "<|eot|>",  # Llama 4
    "<|eom|>",
    "<|im_end|>",  # ChatML: Qwen, SmolLM, Yi, InternLM, Kimi
    "<|endoftext|>",  # GPT-2 and later, Qwen, Phi, GLM, Falcon, OLMo
    "<|end|>",  # Phi, harmony
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",  # Gemma
    "<turn|>",
    "<eos>",
    "<｜end▁of▁sentence｜>",  # DeepSeek
    "<|end▁of▁sentence|>",
    "<|end_of_sentence|>",  # ERNIE
    "<|EOT|>",
    "<|END_OF_TURN_TOKEN|>",  # Command
    "<|END_RESPONSE|>",
    "<|assistant_end|>",
    "<|user|>",  # GLM, Phi: the next turn's beginning
    "<|endofturn|>",
    "[|endofturn|]",  # EXAONE
    "<eoa>",  # InternLM
    "<|eos|>",  # Hunyuan
    "<[EOS]>",
    "[EOS]",
    "<seed:eos>",  # Seed-OSS
    "[e~[",  # MiniMax
    "</assistant>",
    "<|end_of_solution|>",  # Sky-T1, OpenThinker: the end of an answer that follows a thought
    "<|END_TEXT|>",  # Command A
    "[END FINAL RESPONSE]",  # Apriel
    "<|close|>response<|sep|>",  # Kimi K3
    "<|close|>message<|sep|>",
    "<|end_message|>",  # Inkling
    "<|content_model_end_sampling|>",
    "<|flush|>",  # Solar Open
    "<|plamo:tag|>",  # PLaMo 3
)


def without_end_tokens(text: str) -> str:
    """A text without tokens at its end, and without the white space around them."""
    text = text.rstrip()
    while text.endswith(END_TOKENS) and not _is_struck_out(text):
        token = next(token for token in END_TOKENS if text.endswith(token))
        text = text.removesuffix(token).rstrip()
    return text


def _is_struck_out(text: str) -> bool:
    """Whether a text ends on words struck out in HTML, `<s>like this</s>`, and not on a token."""
    return text.endswith("</s>") and text.find("<s>", 1) > 0
