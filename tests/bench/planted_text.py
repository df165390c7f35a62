"""Faults planted in grounded answers of the corpus: a part of a link, a quoted word, a name.

`python -m tests.bench.planted_text` says, by check, how many are found, how many answers of each
model are flagged naively and by the check, and what a look at an answer costs.
"""

import gzip
import json
import re
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

from pipeline.answering.checks import known_checks
from pipeline.answering.checks.base import Subject
from pipeline.answering.checks.links import links_of
from pipeline.answering.checks.quotes import LITTLE, long_quotations
from pipeline.answering.grounding.names import holds, names_of
from pipeline.config.schema import Answer, TextGrammar
from pipeline.core.records import Completion, Message, Place
from pipeline.formats.extract import extract_answer
from pipeline.prompting.template import load_prompt, render
from pipeline.reading.text import text_record
from tests.support.jobs import ROOT, packed_corpus

FAULTS, SEED = 300, 18
TEMPLATE = ROOT / "conf/prompts/instructions-first.md"
_NAMES = (
    "ResNet-101 DenseNet-121 VGG19 YOLOv4 MobileNetV3 EfficientNet-B4 TensorFlow PyTorch Keras "
    "Caffe MXNet ImageNet COCO CIFAR-10 MNIST Cityscapes GitLab Figshare Zenodo Dryad Kaggle "
    "SegNet DeepLabV3 AlexNet XGBoost LightGBM scikit-learn OpenCV MATLAB Azure iNaturalist"
)

_WORDS = (
    "harbour velvet parliament copper orchestra ladder pepper saddle voyage kitchen lantern "
    "marble tunnel wardrobe festival pocket thunder ribbon gallery anchor"
)
OTHER_NAMES, OTHER_WORDS = _NAMES.split(), _WORDS.split()

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Prompt(NamedTuple):
    messages: tuple[Message, ...]
    question: str


class Said(NamedTuple):
    model: str
    record: str
    answer: str


def subject_of(said: Said, prompts: dict[str, Prompt], answer: str | None = None) -> Subject:
    """An answer, or what stands for it, with the prompt that it answers."""
    text, prompt = said.answer if answer is None else answer, prompts[said.record]
    return Subject(
        Completion(text, "stop"), text, "", 399, question=prompt.question, messages=prompt.messages
    )


def corpus() -> tuple[dict[str, Prompt], list[Said]]:
    """The prompts by record, and the answers of five models."""
    prompts, answers = {}, []
    source = load_prompt(str(TEMPLATE), Answer())
    with tarfile.open(packed_corpus() / "records.tar.gz") as archive:
        for member in archive:
            if file := archive.extractfile(member):
                record = text_record(file.read(), Place(member.name, 0), TextGrammar())
                name = Path(member.name).stem
                prompts[name] = Prompt(render(source, record)[0], record.question or "")
                said = extract_answer(record.recorded_answer or "")
                answers.append(Said("mixtral_8_22b", name, said))
    with gzip.open(packed_corpus() / "answers_of_other_models.jsonl.gz") as lines:
        for line in map(json.loads, lines):
            answers.append(Said(line["model"], line["record"], extract_answer(line["completion"])))
    return prompts, answers


def change_link(rng: Random, subject: Subject) -> str | None:
    """The answer with one part of a link's path changed: a sign, one less, or another word."""
    parts = [
        (link.start + part.start(), link.start + part.end())
        for link in links_of(subject.answer)
        for part in re.finditer(r"(?<=[\w)]/)[^/\s]*\w", link.text)
    ]
    if not parts:
        return None
    start, end = rng.choice(parts)
    old = subject.answer[start:end]
    at = rng.choice([n for n, sign in enumerate(old) if sign.isalnum()])
    others = "0123456789" if old[at].isdigit() else LETTERS
    other = rng.choice([sign for sign in others if sign != old[at].lower()])
    new = rng.choice((old[:at] + other + old[at + 1 :], old[:at] + old[at + 1 :], "harbour"))
    return subject.answer[:start] + new + subject.answer[end:]


def change_quotation(rng: Random, subject: Subject) -> str | None:
    """The answer with one content word of a quotation replaced."""
    words = [
        (quotation.start + word.start(), quotation.start + word.end())
        for quotation in long_quotations(subject.answer)
        for word in re.finditer(r"\b[A-Za-z]{4,}\b", quotation.text)
        if word[0].lower() not in LITTLE
    ]
    if not words:
        return None
    start, end = rng.choice(words)
    return subject.answer[:start] + rng.choice(OTHER_WORDS) + subject.answer[end:]


def change_name(rng: Random, subject: Subject) -> str | None:
    """The answer with another name for one that the prompt holds, and the question does not."""
    names = {name.text for name in names_of(subject.answer)}
    held = sorted(
        n for n in names if n in subject.ground.text and n not in (subject.question or "")
    )
    others = [name for name in OTHER_NAMES if not holds(subject.ground.letters, name)]
    if not held:
        return None
    return re.sub(rf"\b{re.escape(rng.choice(held))}\b", rng.choice(others), subject.answer)


CHANGES: dict[str, Callable[[Random, Subject], str | None]] = {
    "links": change_link,
    "quotes": change_quotation,
    "names": change_name,
}
ITEMS: dict[str, Callable[[str], Iterator[NamedTuple]]] = {
    "links": links_of,
    "quotes": long_quotations,
    "names": names_of,
}


def found(check: str, prompts: dict[str, Prompt], answers: list[Said]) -> tuple[int, int]:
    """How many planted faults a check finds, of how many."""
    rng, test, results = Random(SEED), known_checks()[check].test, []
    for said in rng.sample(answers, len(answers)):
        subject = subject_of(said, prompts)
        changed = CHANGES[check](rng, subject)
        if changed is None or changed == said.answer or test(subject).claims:
            continue
        results.append(not test(subject_of(said, prompts, changed)).passed)
        if len(results) == FAULTS:
            break
    return sum(results), len(results)


def flagged(check: str, prompts: dict[str, Prompt], answers: list[Said]) -> Iterator[str]:
    """A line for each model: answers with any item, flagged naively, and by the check."""
    counts: dict[str, Counter[str]] = {}
    for said in answers:
        subject, count = subject_of(said, prompts), counts.setdefault(said.model, Counter())
        if items := list(ITEMS[check](said.answer)):
            count["any"] += 1
            count["naive"] += any(item.text not in subject.ground.text for item in items)
            count["check"] += not known_checks()[check].test(subject).passed
    for model, count in sorted(counts.items()):
        any_, naive, by_check = (count[key] for key in ("any", "naive", "check"))
        yield f"{model}: {any_} with any, {naive} flagged naively, {by_check} by the check"


def milliseconds(check: str, prompts: dict[str, Prompt], answers: list[Said]) -> float:
    """Mean processor time of the check on an answer whose prompt has been joined, not folded."""
    subjects = [subject_of(said, prompts) for said in Random(SEED).sample(answers, 2000)]
    assert all(subject.ground.text for subject in subjects)
    test, start = known_checks()[check].test, time.process_time()
    for subject in subjects:
        test(subject)
    return 1000 * (time.process_time() - start) / len(subjects)


def main() -> None:
    prompts, answers = corpus()
    for check in CHANGES:
        hits, planted = found(check, prompts, answers)
        print(f"{check}: {hits} of {planted} planted faults found, {hits / planted:.3f}")
        print(*(f"  {line}" for line in flagged(check, prompts, answers)), sep="\n")
        print(f"  {milliseconds(check, prompts, answers):.3f} ms an answer")


if __name__ == "__main__":
    main()
