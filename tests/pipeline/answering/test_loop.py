"""Generate, check, repair: what each attempt asks, and which of them becomes the answer.

The engine is a fake that says what its test has it say, and notes what it was asked.
"""

import asyncio

from pipeline.answering.checks import chosen_checks
from pipeline.answering.evaluate import Evaluator
from pipeline.answering.loop import AnsweringLoop
from pipeline.core.records import Answered, Completion, Message, Prompt
from pipeline.engines.engine import GenerationError, Request
from tests.support.jobs import record

ASKED = (Message("user", "How many herons nested?"),)
GOOD = "Eleven herons nested at the pond."
LONG = "Eleven herons nested at the pond in the year of the survey."
CUT = Completion("Eleven herons nested at", "length", completion_tokens=5)
LOOP = "herons nested at the pond in the year of the " * 9


class FakeEngine:
    kind, version = "fake", "1"

    def __init__(self, *said: str | Completion | Exception) -> None:
        self._said = [Completion(s, "stop") if isinstance(s, str) else s for s in said]
        self.asked: list[Request] = []

    async def generate(self, request: Request) -> Completion:
        self.asked.append(request)
        said = self._said.pop(0)
        if isinstance(said, Exception):
            raise said
        return said


def answered_by(engine: FakeEngine, attempts: int = 3, **levels) -> Answered:
    loop = AnsweringLoop(engine, Evaluator(chosen_checks(levels), 8), attempts)
    return asyncio.run(loop.answer(Prompt(record(), ASKED, "", "", "")))


def test_an_answer_that_passes_takes_one_attempt():
    engine = FakeEngine(GOOD)
    made = answered_by(engine)
    assert (made.answer, made.status, len(made.attempts)) == (GOOD, "answered", 1)


def test_a_failed_check_says_what_goes_back_to_the_model():
    engine = FakeEngine(LONG, GOOD)
    made = answered_by(engine)
    assert (made.answer, made.status) == (GOOD, "answered")
    assert engine.asked[1].messages == (
        *ASKED,
        Message("assistant", LONG),
        Message("user", "Your answer has 12 words; answer again in at most 8."),
    )
    assert [a.failed_checks for a in made.attempts] == [("word_count",), ()]


def test_a_loop_is_sampled_anew_with_the_same_words():
    engine = FakeEngine(LOOP, GOOD)
    answered_by(engine, word_count="off")
    assert engine.asked[1].messages == ASKED
    assert (engine.asked[1].resampled, engine.asked[1].attempt) == (1, 1)


def test_an_answer_that_was_cut_is_given_more_tokens():
    engine = FakeEngine(CUT, CUT, GOOD)
    made = answered_by(engine)
    assert [r.lengthened for r in engine.asked] == [0, 1, 2]
    assert made.status == "answered"


def test_an_answer_cut_by_the_end_of_the_context_is_beyond_repair():
    full = Completion("Eleven herons nested at", "length", context_full=True)
    engine = FakeEngine(full, GOOD)
    made = answered_by(engine)
    assert (made.status, len(made.attempts)) == ("failed", 1)


def test_several_faults_are_said_in_one_turn():
    both = Completion(LONG + " Answer:::", "length", completion_tokens=5)
    engine = FakeEngine(both, GOOD)
    answered_by(engine, format="fail", attempts=2)
    (said,) = engine.asked[1].messages[2:]
    assert "12 words" in said.content
    assert "Answer:::" in said.content
    assert engine.asked[1].lengthened == 1


def test_a_label_asks_for_no_repair():
    engine = FakeEngine(GOOD)
    made = answered_by(engine, format="label")
    assert len(made.attempts) == 1
    assert [c.name for c in made.checks if not c.passed] == ["format"]


def test_attempts_end_where_the_job_says_and_the_best_is_the_answer():
    short_loop = "herons " * 60
    engine = FakeEngine(short_loop, LONG, short_loop)
    made = answered_by(engine)
    assert (made.status, made.answer) == ("failed", LONG)
    assert made.failed_checks == ("word_count",)
    assert len(made.attempts) == 3


def test_of_two_attempts_that_are_as_good_the_later_is_the_answer():
    engine = FakeEngine(LONG, LONG.replace("Eleven", "Some twelve"))
    assert answered_by(engine, attempts=2).answer.startswith("Some twelve")


def test_some_answer_is_better_than_none():
    engine = FakeEngine(LONG + " and the", "")
    assert answered_by(engine, attempts=2).answer == LONG + " and the"


def test_a_record_that_the_engine_cannot_answer_fails_by_that_alone():
    engine = FakeEngine(GenerationError("out of memory"), GOOD)
    made = answered_by(engine)
    assert made.failed_checks == ("engine_error",)
    assert [(c.name, c.evidence) for c in made.checks] == [("engine_error", "out of memory")]
    assert [a.completion.finish_reason for a in made.attempts] == ["error"]


def test_what_was_answered_before_the_engine_gave_up_is_kept():
    engine = FakeEngine(LONG, GenerationError("too long a talk"))
    made = answered_by(engine)
    assert made.answer == LONG
    assert made.failed_checks == ("word_count",)
    assert [a.failed_checks for a in made.attempts] == [("word_count",), ("engine_error",)]
