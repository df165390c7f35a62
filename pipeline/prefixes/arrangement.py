"""Prompts with their passages in the order in which a paper's questions share the most prefix."""

from collections.abc import Sequence
from dataclasses import replace

from pipeline.faults import Fault
from pipeline.model import Passage, Prompt
from pipeline.prefixes.tree import arrange
from pipeline.prompting.template import PromptSource, render


def arranged(
    prompts: Sequence[Prompt], papers: Sequence[str], source: PromptSource
) -> tuple[list[Prompt], list[str]]:
    """The prompts, in another order, with the papers that they belong to; their keys stay.

    A key stands for every order of the passages (`prompting.fit`).
    """
    by_paper: dict[str, list[Prompt]] = {}
    for prompt, paper in zip(prompts, papers, strict=True):
        by_paper.setdefault(paper, []).append(prompt)
    made, of = [], []
    for paper, group in by_paper.items():
        group.sort(key=lambda prompt: (prompt.record.record_id, prompt.generation_key))
        for number, passages in arrange([prompt.record.passages for prompt in group]):
            made.append(_with_passages(group[number], passages, source))
            of.append(paper)
    return made, of


def _with_passages(prompt: Prompt, passages: tuple[Passage, ...], source: PromptSource) -> Prompt:
    record = replace(prompt.record, passages=passages)
    try:
        messages, _ = render(source, record)
    except Fault:  # a template that bears only the order in which it was tried
        return prompt
    return replace(prompt, record=record, messages=messages)
