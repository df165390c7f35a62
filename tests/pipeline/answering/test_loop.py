"""Generate, check, repair: what each attempt asks, and which attempt becomes the answer.

The engine is a fake that returns the test's completions and records its requests.
"""

import asyncio

from pipeline.answering.checks import chosen_checks
from pipeline.answering.evaluate import Evaluator
from pipeline.answering.loop import AnsweringLoop
from pipeline.core.records import Answered, Completion, Message, Prompt
from pipeline.engines.engine import GenerationError, Request
from tests.support.jobs import record

PROMPT = (Message("user", "How many herons nested?"),)
GOOD = "Eleven herons nested at the pond."
LONG = "Eleven herons nested at the pond in the year of the survey."
CUT = Completion("Eleven herons nested at", "length", completion_tokens=5)
LOOP = "herons nested at the pond in the year of the " * 9


class FakeEngine:
    kind, version = "fake", "1"

    def __init__(self, *results: str | Completion | Exception) -> None:
        self._results = [Completion(r, "stop") if isinstance(r, str) else r for r in results]
        self.requests: list[Request] = []

    async def generate(self, request: Request) -> Completion:
        self.requests.append(request)
        result = self._results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result


def answered_by(engine: FakeEngine, attempts: int = 3, **levels) -> Answered:
    loop = AnsweringLoop(engine, Evaluator(chosen_checks(levels), 8), attempts)
    return asyncio.run(loop.answer(Prompt(record(), PROMPT, "", "", "")))


def test_an_answer_that_passes_takes_one_attempt():
    engine = FakeEngine(GOOD)
    answered = answered_by(engine)
    assert (answered.answer, answered.status, len(answered.attempts)) == (GOOD, "answered", 1)


def test_a_failed_check_decides_what_the_model_is_asked_next():
    engine = FakeEngine(LONG, GOOD)
    answered = answered_by(engine)
    assert (answered.answer, answered.status) == (GOOD, "answered")
    assert engine.requests[1].messages == (
        *PROMPT,
        Message("assistant", LONG),
        Message("user", "Your answer has 12 words; answer again in at most 8."),
    )
    assert [a.failed_checks for a in answered.attempts] == [("word_count",), ()]


def test_a_repetitive_answer_is_sampled_anew_with_the_same_prompt():
    engine = FakeEngine(LOOP, GOOD)
    answered_by(engine, word_count="off")
    assert engine.requests[1].messages == PROMPT
    assert (engine.requests[1].resampled, engine.requests[1].attempt) == (1, 1)


def test_an_answer_cut_by_the_token_limit_gets_more_tokens():
    engine = FakeEngine(CUT, CUT, GOOD)
    answered = answered_by(engine)
    assert [r.lengthened for r in engine.requests] == [0, 1, 2]
    assert answered.status == "answered"


def test_an_answer_cut_by_the_end_of_the_context_is_not_repaired():
    full = Completion("Eleven herons nested at", "length", context_full=True)
    engine = FakeEngine(full, GOOD)
    answered = answered_by(engine)
    assert (answered.status, len(answered.attempts)) == ("failed", 1)


def test_several_faults_are_named_in_one_turn():
    both = Completion(LONG + " Answer:::", "length", completion_tokens=5)
    engine = FakeEngine(both, GOOD)
    answered_by(engine, format="fail", attempts=2)
    (follow_up,) = engine.requests[1].messages[2:]
    assert "12 words" in follow_up.content
    assert "Answer:::" in follow_up.content
    assert engine.requests[1].lengthened == 1


def test_a_check_at_level_label_asks_for_no_repair():
    engine = FakeEngine(GOOD)
    answered = answered_by(engine, format="label")
    assert len(answered.attempts) == 1
    assert [c.name for c in answered.checks if not c.passed] == ["format"]


def test_the_job_limits_the_attempts_and_the_best_is_the_answer():
    short_loop = "herons " * 60
    engine = FakeEngine(short_loop, LONG, short_loop)
    answered = answered_by(engine)
    assert (answered.status, answered.answer) == ("failed", LONG)
    assert answered.failed_checks == ("word_count",)
    assert len(answered.attempts) == 3


def test_of_equally_good_attempts_the_latest_is_the_answer():
    engine = FakeEngine(LONG, LONG.replace("Eleven", "Some twelve"))
    assert answered_by(engine, attempts=2).answer.startswith("Some twelve")


def test_some_answer_is_better_than_none():
    engine = FakeEngine(LONG + " and the", "")
    assert answered_by(engine, attempts=2).answer == LONG + " and the"


def test_a_record_that_the_engine_cannot_answer_fails_with_engine_error_only():
    engine = FakeEngine(GenerationError("out of memory"), GOOD)
    answered = answered_by(engine)
    assert answered.failed_checks == ("engine_error",)
    assert [(c.name, c.evidence) for c in answered.checks] == [("engine_error", "out of memory")]
    assert [a.completion.finish_reason for a in answered.attempts] == ["error"]


def test_an_answer_from_before_an_engine_error_is_kept():
    engine = FakeEngine(LONG, GenerationError("too long a talk"))
    answered = answered_by(engine)
    assert answered.answer == LONG
    assert answered.failed_checks == ("word_count",)
    assert [a.failed_checks for a in answered.attempts] == [("word_count",), ("engine_error",)]
