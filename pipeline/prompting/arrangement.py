"""Prompts with their passages in the order in which a paper's questions share the most prefix."""

from collections.abc import Sequence
from dataclasses import replace

from pipeline.core.faults import Fault
from pipeline.core.records import Passage, Prompt
from pipeline.prompting.passage_order import arrange
from pipeline.prompting.template import PromptSource, render


def arranged(prompts: Sequence[Prompt], source: PromptSource) -> list[Prompt]:
    """The prompts, in another order; their keys, which stand for every order, stay."""
    by_paper: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        by_paper.setdefault(prompt.record.paper, []).append(prompt)
    made = []
    for group in by_paper.values():
        group.sort(key=lambda prompt: (prompt.record.record_id, prompt.generation_key))
        for number, passages in arrange([prompt.record.passages for prompt in group]):
            made.append(_with_passages(group[number], passages, source))
    return made


def _with_passages(prompt: Prompt, passages: tuple[Passage, ...], source: PromptSource) -> Prompt:
    record = replace(prompt.record, passages=passages)
    try:
        messages, _ = render(source, record)
    except Fault:  # a template that bears only the order in which it was tried
        return prompt
    return replace(prompt, record=record, messages=messages)
