"""Formats in which models write a thought and an answer, each after its family's own description.

The words in them are invented; the marks are the families'.
"""

from typing import NamedTuple


class Format(NamedTuple):
    """A completion is `before`, a thought, `between`, an answer, `behind`.

    `before` is empty where the chat template opens the thought.
    """

    name: str
    source: str
    before: str
    between: str
    behind: str = ""

    def text(self, thought: str, answer: str) -> str:
        return f"{self.before}{thought}{self.between}{answer}{self.behind}"


FORMATS = (
    Format("DeepSeek R1", "vllm/reasoning/deepseek_r1", "<think>\n", "\n</think>\n\n"),
    Format("R1 distillate", "its chat template, which ends on <think>", "", "\n</think>\n\n"),
    Format("Qwen3", "its chat template", "<think>\n", "\n</think>\n\n", "<|im_end|>"),
    Format("QwQ", "its chat template, which ends on <think>", "", "\n</think>\n\n", "<|im_end|>"),
    Format("GLM 4.5", "vllm/parser/glm47_moe", "\n<think>", "</think>\n", "<|user|>"),
    Format("Nemotron", "vllm/parser/nemotron_v3", "<think>\n", "\n</think>\n"),
    Format("OLMo 3", "vllm/reasoning/olmo3", "<think>", "</think>"),
    Format("Kimi K2", "vllm/parser/kimi_k2", "<think> ", " </think> ", "<|im_end|>"),
    Format("Phi 4 reasoning", "its model card", "<think>", "</think>\n", "<|im_end|>"),
    Format("Step 3", "vllm/reasoning/step3", "", "</think>"),
    Format(
        "Hunyuan A13B",
        "vllm/reasoning/hunyuan_a13b",
        "<think>\n",
        "\n</think>\n<answer>\n",
        "\n</answer>",
    ),
    Format("Hunyuan 4", "vllm/reasoning/hy_v4", "<think:opensource>", "</think:opensource>"),
    Format(
        "ERNIE 4.5", "vllm/reasoning/ernie45", "", "\n</think>\n\n<response>\n", "\n</response>\n"
    ),
    Format("MiniMax M2", "vllm/reasoning/minimax_m2", "", "\n</think>\n\n", "[e~["),
    Format("MiniMax M3", "vllm/reasoning/minimax_m3", "<mm:think>", "</mm:think>"),
    Format("Seed-OSS", "vllm/parser/seed_oss", "<seed:think>\n", "</seed:think>", "<seed:eos>"),
    Format("K2 Horizon", "vllm/reasoning/k2_horizon", "<ifm|think_fast>", "</ifm|think_fast>"),
    Format("LongCat", "its model card", "<longcat_think>\n", "\n</longcat_think>\n"),
    Format("EXAONE Deep", "its model card", "<thought>\n", "\n</thought>\n\n", "[|endofturn|]"),
    Format("Marco-o1", "its model card", "<Thought>\n", "\n</Thought>\n<Output>\n", "\n</Output>"),
    Format("Claude, asked to", "Anthropic's guide to prompts", "<thinking>\n", "\n</thinking>\n\n"),
    Format("Reka Flash 3", "its model card", "<reasoning>\n", "\n</reasoning>\n\n"),
    Format("Magistral", "mistral_common, begin_think", "[THINK]", "[/THINK]", "</s>"),
    Format("Kimi-VL", "its model card", "◁think▷", "◁/think▷"),
    Format("Gemma 4", "vllm/parser/gemma4", "<|channel>thought\n", "<channel|>", "<turn|>"),
    Format("MedGemma", "its model card", "<unused94>thought\n", "<unused95>", "<end_of_turn>"),
    Format(
        "Sky-T1",
        "its system prompt",
        "<|begin_of_thought|>\n\n",
        "\n\n<|end_of_thought|>\n\n<|begin_of_solution|>\n\n",
        "\n\n<|end_of_solution|>",
    ),
    Format(
        "Command A",
        "vllm/reasoning/cohere_command",
        "<|START_THINKING|>",
        "<|END_THINKING|><|START_RESPONSE|>",
        "<|END_RESPONSE|><|END_OF_TURN_TOKEN|>",
    ),
    Format(
        "Apertus", "its chat template", "<|inner_prefix|>", "<|inner_suffix|>", "<|assistant_end|>"
    ),
    Format(
        "PLaMo 3",
        "vllm/parser/plamo3",
        "<|plamo:begin_think:plamo|>",
        "<|plamo:end_think:plamo|>",
        "<|plamo:tag|>",
    ),
    Format(
        "Kimi K3",
        "vllm/reasoning/kimi_k3",
        "<|open|>think<|sep|>",
        "<|close|>think<|sep|><|open|>response<|sep|>",
        "<|close|>response<|sep|><|close|>message<|sep|>",
    ),
    Format(
        "Inkling",
        "vllm/parser/inkling",
        "<|message_model|><|content_thinking|>",
        "<|end_message|><|message_model|><|content_text|>",
        "<|end_message|>",
    ),
    Format(
        "Solar Open",
        "its chat template",
        "<|think|>",
        "<|end|><|begin|>assistant<|content|>",
        "<|flush|>",
    ),
    Format(
        "Muse Glimmer",
        "vllm/reasoning/muse_glimmer",
        "to=self<|message|>",
        "<|eom|><|start|>assistant to=user<|message|>",
        "<|eot|>",
    ),
    Format(
        "Granite 3.2",
        "vllm/reasoning/granite",
        "Here is my thought process: ",
        "\n\nHere is my response: ",
        "<|end_of_text|>",
    ),
    Format(
        "Apriel", "its chat template", "", "\n[BEGIN FINAL RESPONSE]\n", "\n[END FINAL RESPONSE]"
    ),
    Format(
        "gpt-oss",
        "openai/harmony, docs/format.md",
        "<|channel|>analysis<|message|>",
        "<|end|><|start|>assistant<|channel|>final<|message|>",
        "<|return|>",
    ),
    Format(
        "gpt-oss, opened by the template",
        "openai/harmony, docs/format.md",
        "",
        "<|end|><|start|>assistant<|channel|>final<|message|>",
        "<|return|>",
    ),
    Format(
        "gpt-oss without special tokens",
        "openai/harmony, decoded with skip_special_tokens",
        "analysis",
        "assistantfinal",
    ),
)
