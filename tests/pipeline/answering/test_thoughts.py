"""What becomes of a thought behind the engine: it is kept, and no part of the answer.

The engines are fakes that return the test's completions, as those of `test_loop.py`.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.answering.checks import chosen_checks
from pipeline.answering.evaluate import Evaluator
from pipeline.answering.past_runs import PastRuns
from pipeline.answering.recheck import Boilerplates, recheck_rows
from pipeline.config.schema import TextGrammar
from pipeline.core.records import Completion, Message, Split
from pipeline.store.schema import answers_table
from tests.pipeline.answering.test_loop import GOOD, LONG, PROMPT, FakeEngine, answered_by

THOUGHT = "The passages name eleven herons, and I trust the second one."


def thought(content: str, reason: str | None = "stop", **fields) -> Completion:
    """A completion that the engine has split."""
    text = f"<think>{THOUGHT}</think>\n\n{content}"
    return Completion(text, reason, split=Split(THOUGHT, content), reasoning_tokens=9, **fields)


def unclosed(reason: str | None, **fields) -> Completion:
    """A thought that the prompt opened, so that its text has no tags."""
    return Completion(THOUGHT, reason, split=Split(THOUGHT, "", is_closed=False), **fields)


def failed(completion: Completion, attempts: int = 1) -> dict[str, str]:
    """The evidence of each check that fails a completion."""
    answered = answered_by(FakeEngine(*[completion] * attempts), attempts)
    return {
        check.name: check.evidence
        for check in answered.checks
        if check.name in answered.failed_checks
    }


def test_the_answer_is_what_follows_the_thought():
    answered = answered_by(FakeEngine(thought(GOOD)))
    assert (answered.answer, answered.status) == (GOOD, "answered")
    assert answered.completion.text.startswith("<think>")
    assert answered.completion.reasoning == THOUGHT


def test_words_of_the_thought_do_not_count():
    assert failed(thought(GOOD)) == {}
    assert "12 words" in failed(thought(LONG))["word_count"]


def test_a_thought_is_not_sent_back_with_the_answer_that_is_discussed():
    engine = FakeEngine(thought(LONG), thought(GOOD))
    answered_by(engine)
    assert engine.requests[1].messages[: len(PROMPT) + 1] == (*PROMPT, Message("assistant", LONG))


@pytest.mark.parametrize("reason", ["length", "stop", None])
def test_a_thought_that_is_not_closed_is_no_answer(reason):
    evidence = failed(unclosed(reason, completion_tokens=1200))
    assert "the thought is not closed" in evidence["complete"]
    assert "the thought is not closed" in evidence["empty"]


def test_a_thought_cut_by_the_token_limit_gets_a_larger_one():
    engine = FakeEngine(unclosed("length"), thought(GOOD))
    answered = answered_by(engine)
    assert answered.answer == GOOD
    assert (engine.requests[1].lengthened, engine.requests[1].resampled) == (1, 0)
    assert engine.requests[1].messages == PROMPT


def test_a_thought_that_fills_the_context_is_final():
    engine = FakeEngine(unclosed("length", context_full=True))
    assert (
        "the model's context is full" in failed(unclosed("length", context_full=True))["complete"]
    )
    assert len(answered_by(engine).attempts) == 1


def test_a_thought_that_stops_by_itself_is_sampled_again():
    engine = FakeEngine(unclosed("stop"), thought(GOOD))
    assert answered_by(engine).answer == GOOD
    assert engine.requests[1].resampled == 1


def test_nothing_behind_a_thought_is_empty_and_sampled_again():
    engine = FakeEngine(thought(""), thought(GOOD))
    answered = answered_by(engine)
    assert answered.attempts[0].failed_checks == ("empty",)
    assert answered.answer == GOOD


def test_the_store_keeps_the_thought_of_each_attempt():
    answered = answered_by(FakeEngine(thought(LONG), thought(GOOD, confidence=-0.25)))
    (row,) = answers_table([answered], {}).to_pylist()
    assert (row["reasoning"], row["answer"], row["confidence"]) == (THOUGHT, GOOD, -0.25)
    assert row["reasoning_tokens"] == 18
    assert [a["reasoning"] for a in row["attempts"]] == [THOUGHT, THOUGHT]
    assert [a["reasoning_tokens"] for a in row["attempts"]] == [9, 9]


def test_an_answer_without_a_thought_has_a_null_for_it():
    (row,) = answers_table([answered_by(FakeEngine(GOOD))], {}).to_pylist()
    assert (row["reasoning"], row["reasoning_tokens"]) == (None, 0)


SIGNS = st.text(st.sampled_from("ab <>/think\n.[]"), min_size=1, max_size=60)
SPLITS = st.one_of(
    st.builds(thought, st.sampled_from([GOOD, LONG, ""])),
    st.builds(unclosed, st.sampled_from(["length", "stop"])),
    st.builds(
        lambda t: Completion(t, "stop", split=Split(t.strip(), "", False)),
        st.text(st.sampled_from("ab .\n"), max_size=40).map(lambda t: f"{t}x"),
    ),
    st.builds(lambda t: Completion(t, "stop"), SIGNS),
)


@given(SPLITS)
def test_a_recheck_finds_the_split_that_was_made(completion):
    answered = answered_by(FakeEngine(completion), 1)
    table = answers_table([answered], {"prompt_name": "verbatim", "prompt_version": "1"})
    evaluator = Evaluator(chosen_checks({}), 8)
    _, done = recheck_rows(table, evaluator, Boilerplates({}, TextGrammar()), PastRuns())
    assert done.verdicts == []
