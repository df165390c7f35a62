"""How the checks judge the published answers of five models, which are recorded: none is a draft.

The bounds are the shares of answers that do break off or go in circles, as counted by reading those
that fail, with room for the answers of other papers.
"""

import gzip
import json
from collections import Counter, defaultdict

import pytest

from pipeline.answering.checks import known_checks
from pipeline.answering.checks.base import Subject
from pipeline.answering.reasoning import split_text
from pipeline.config.schema import TextGrammar
from pipeline.core.records import Completion, FinishReason, Place, Split
from pipeline.core.words import count_words
from pipeline.formats.extract import extract_answer
from pipeline.reading.text import text_record
from tests.support.jobs import Corpus

RECORDED = "mixtral_8_22b"
LARGEST_SHARE = {"complete": 0.01, "repetition": 0.002}


@pytest.fixture(scope="module")
def completions(corpus: Corpus) -> dict[str, list[str]]:
    """The completions of every model."""
    by_model = defaultdict(list)
    for path in sorted(corpus.records.iterdir()):
        record = text_record(path.read_bytes(), Place(path.name, 0), TextGrammar())
        by_model[RECORDED].append(record.recorded_answer or "")
    with gzip.open(corpus.packed / "answers_of_other_models.jsonl.gz") as file:
        for line in map(json.loads, file):
            by_model[line["model"]].append(line["completion"])
    return dict(by_model)


def failing(check: str, completions: list[str], reason: FinishReason | None = None) -> list[str]:
    test = known_checks()[check].test
    answers = ((text, extract_answer(text)) for text in completions)
    return [
        a for text, a in answers if not test(Subject(Completion(text, reason), a, "", 399)).passed
    ]


@pytest.mark.parametrize("check", list(LARGEST_SHARE))
def test_few_real_answers_break_off_or_go_in_circles(check, completions):
    shares = {m: len(failing(check, texts)) / len(texts) for m, texts in completions.items()}
    for model, share in sorted(shares.items()):
        print(f"{check}: {share:.2%} of {len(completions[model]):,} answers of {model} fail")

    assert len(shares) == 5
    assert max(shares.values()) < LARGEST_SHARE[check]


def test_of_an_answer_that_the_model_ended_only_a_plain_break_counts(completions):
    for texts in completions.values():
        recorded, stopped = (failing("complete", texts, reason) for reason in (None, "stop"))
        assert not Counter(stopped) - Counter(recorded)
        assert len(stopped) <= len(recorded)


def test_most_loops_also_break_the_word_limit_and_no_short_answer_is_one(completions):
    loops = [a for texts in completions.values() for a in failing("repetition", texts)]
    assert loops
    assert min(map(count_words, loops)) > 399


def test_the_words_of_these_answers_are_those_that_white_space_separates(completions):
    for texts in completions.values():
        assert all(count_words(text) == len(text.split()) for text in texts)


def test_none_of_these_answers_has_a_thought(completions):
    assert sum(map(len, completions.values())) == 30_520
    for texts in completions.values():
        assert all(split_text(text) == Split("", text) for text in texts)
