import asyncio

import pytest

from pipeline.core.errors import ConfigError
from pipeline.core.records import Completion, Message, Passage, Prompt, Record
from pipeline.engines import (
    check_engine,
    generation_identity,
    least_rows,
    max_concurrent_batches,
    open_engine,
)
from pipeline.engines.engine import Engine, Request
from pipeline.formats.extract import extract_answer
from tests.support.jobs import job, record, vllm_job


def answer_of(rec: Record, max_words: int = 399, messages: tuple[Message, ...] = ()) -> str:
    engine = open_engine(job("shards", "store", answer={"max_words": max_words}))
    return completion_of(engine, Prompt(rec, messages, "", "", "")).text


def completion_of(engine: Engine, prompt: Prompt) -> Completion:
    return asyncio.run(engine.generate(Request.first(prompt)))


def test_extractive_quotes_the_sentence_that_answers_in_the_frame():
    assert answer_of(record(4)) == (
        "Answer:::\nAt pond 4 we counted 7 herons on their nests.\nAnswer:::"
    )


def test_extractive_abstains_where_nothing_matches():
    silent = record(passages=(Passage("Rain fell on most days of the survey."),))
    assert extract_answer(answer_of(silent)) == "The passages do not say."


@pytest.mark.parametrize("passages", [(), (Passage(""),), (Passage(" \n\x0c"),), (Passage("..."),)])
def test_extractive_abstains_without_a_sentence_to_quote(passages):
    assert extract_answer(answer_of(record(passages=passages))) == "The passages do not say."


def test_extractive_keeps_the_word_limit():
    many = tuple(Passage(f"Herons nested at pond {n} in the year {n}." * 3) for n in range(40))
    answer = extract_answer(answer_of(record(passages=many), max_words=12))
    assert 0 < len(answer.split()) <= 12


def test_extractive_quotes_a_repeated_sentence_once():
    twice = (Passage("Herons nested at the pond."),) * 2
    assert answer_of(record(passages=twice)).count("Herons") == 1


def test_extractive_takes_the_last_paragraph_of_a_ready_prompt_as_the_question():
    prompt = Message(
        "user", "Herons nested at the pond.\n\nRain fell.\n\nWhere was the herons nest?"
    )
    text = answer_of(record(question=None, passages=()), messages=(prompt,))
    assert extract_answer(text) == "Herons nested at the pond."


def test_extractive_is_the_same_every_time():
    assert answer_of(record(4)) == answer_of(record(4))


def test_recorded_replays_the_answer_word_for_word():
    engine = open_engine(job("shards", "store", engine={"kind": "recorded"}))
    completion = completion_of(
        engine, Prompt(record(recorded_answer=" As it was.\n"), (), "", "", "")
    )
    assert (completion.text, completion.finish_reason) == (" As it was.\n", None)


def test_the_recorded_answer_is_part_of_the_generation_key():
    replay = job("shards", "store", engine={"kind": "recorded"})
    identity = generation_identity(replay)
    assert identity(record(recorded_answer="One.")) != identity(record(recorded_answer="Other."))


def test_the_word_limit_is_part_of_an_extractive_generation_key():
    one, other = (job("shards", "store", answer={"max_words": n}) for n in (50, 60))
    assert generation_identity(one)(record()) != generation_identity(other)(record())


def test_an_option_that_the_engine_does_not_have_stops_the_job():
    with pytest.raises(ConfigError, match=r"engine\.options\.beams"):
        check_engine(job("shards", "store", engine={"options": {"beams": 4}}))


@pytest.mark.parametrize("sequences", [1, 16, 100, 256, 1024])
@pytest.mark.parametrize("rows", [1, 10, 200, 1000])
def test_an_engine_has_enough_records_at_hand_though_batches_are_small(sequences, rows):
    task = vllm_job("model", options={"max_num_seqs": sequences}, rows_per_file=rows)
    concurrent, least = max_concurrent_batches(task), least_rows(task)
    assert concurrent * rows >= 8 * sequences
    assert 1 <= least <= rows
    assert (concurrent + 1) * least >= min(5 * sequences, concurrent * rows)


def test_an_engine_without_a_model_answers_one_batch_while_another_is_stored():
    assert max_concurrent_batches(job("shards", "store")) == 2


def test_only_an_endpoint_has_limits():
    limits = {"tokens_per_minute": 90_000}
    check_engine(job("a", "b", engine={"kind": "openai", "model": "m", "limits": limits}))
    with pytest.raises(ConfigError, match=r"engine\.limits\.tokens_per_minute: an endpoint has"):
        check_engine(job("a", "b", engine={"kind": "recorded", "limits": limits}))
