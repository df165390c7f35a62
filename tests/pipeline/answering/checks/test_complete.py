"""Answers that end as answers end are complete, in any language; those that break off are not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipeline.answering.checks.look import look

FINISHED = "They count herons at dawn. They trust the tall tower"


def passes(answer: str, finish_reason: str | None) -> bool:
    return look("complete", answer, finish_reason=finish_reason).passed


@pytest.mark.parametrize("reason", ["length", "abort", "error"])
def test_an_answer_is_incomplete_if_the_engine_stopped_early(reason):
    assert not passes("All done.", reason)


@pytest.mark.parametrize(
    "answer",
    [
        "The nests were counted from a",
        "They used three methods,",
        "They used:",
        "Counts were high (Marsh et al., 2",
        "First paragraph.\n\nIt follows from",
        "They count at dawn. The",
        "The tower is a two-sto-",
        "The tower is tall —",
        "They used:\n- drones\n-",
        "They used:\n1. drones\n2.",
        "They used:\n-",
        "They used several tools (e.g.",
        "The herons are counted for and",
        # other languages
        "Die Reiher wurden gezählt und die Nester wurden mit der",
        "Les nids sont comptés dans la tour avec les",
        "Los nidos se cuentan desde la torre con el",
        "Os ninhos são contados na torre com uma",
        "I nidi sono contati nella torre con gli",
        "De nesten worden geteld van een toren en de",
        "Гнёзда считают с башни и на",
        "鸟巢是从塔上数的，",
        "鸟巢是从塔上数的，因为",
        "塔から巣を",
        "تُعد الأعشاش من البرج،",
        "둥지를 세는 방법은 탑 및",
    ],
)
def test_a_text_that_plainly_breaks_off_is_incomplete(answer):
    for reason in ("stop", None):
        result = look("complete", answer, finish_reason=reason)
        assert not result.passed
        assert answer.split()[-1] in result.evidence


@pytest.mark.parametrize(
    "answer",
    [
        "The nests were counted twice. Afterwards the second obser",
        "The nests were counted twice. They are",
        "They use a scale. Its name is NEST5",
        "They counted from 1990 to 20–",
        "鸟巢数了两次。然后第二位观察",
        "Run this:\n```\ncount --nests",
        "| Pond | Herons |\n|---|---|\n| P1 | 4",
    ],
)
def test_a_text_that_seems_to_break_off_is_complete_if_the_model_says_so(answer):
    assert not passes(answer, None)
    assert passes(answer, "stop")


@pytest.mark.parametrize(
    "answer",
    [
        "The nests were counted.",
        "I don't know",
        "They used:\n- drones\n- boats",
        "They used:\n- drones;\n- boats;",
        "Counted by hand (see page 4)",
        "The code is kept. See https://example.org/herons",
        'They call it a "slow" method."',
        "**Adam**",
        "",
        "N/A",
        "-",
        "n/a",
        "40",
        "Birds that lack vitamin A",
        "They belong to group a",
        "Nothing that I know of",
        "The light is on",
        "Drones, boats and so on",
        "Nest charge: Cl-",
        "Herons: –",
        "They count at dawn. The share is 45%",
        "They count at dawn. It lies in [0, 1)",
        "They count at dawn. It lies in ]0, 1[",
        "They count at dawn. The sign is '('",
        "They count at dawn. How nice :(",
        "They count at dawn. It is \\(x = 5\\)",
        "They count at dawn. It is $a$",
        "They count at dawn:\n\\[ x = 5 \\]",
        "Run this. It prints:\n```\nherons: 4\n```",
        "| Pond | Herons |\n|---|---|\n| P1 | 4 |",
        "They count them. References:\n* Marsh et al. (2021)",
        "A. Marsh, et al. Annals of Herons 60 (2020) 101151",
        "An egret is worth two. CoRR abs/2010.11929 (2020)",
        "They counted. The record is kept as 10.1000/x.y2",
        "Sie zählen die Reiher, bevor sie an",
        "Ils comptent les nids depuis la tour",
        "They count at dawn. Source: passage 2",
        "They count at dawn. (Note: in May)",
        "They count at dawn. See table 4",
        "They count at dawn. 12",
        "They count at dawn.\n\n[1] Marsh 2020, Annals 12(3)",
        "鸟巢是从塔上数的",
        "นับรังนกจากหอคอย",
    ],
)
def test_a_text_with_a_proper_end_is_complete(answer):
    assert passes(answer, "stop")
    assert passes(answer, None)


closings = st.sampled_from(
    ["[1]", " [1, 2]", "[1–3]", "【4:0†source】", " (Marsh et al., 2020)", "¹²", " †", "*", "**",
     "_", "”", '"', "»", "’", ")", "]", " 🐦", "👍🏽", " ❤️", "™", "<sup>1</sup>", "[^1]", "`", " ✓"]
)  # fmt: skip
stops = st.sampled_from([*".!?…。！？।؟۔።။។։॥‼｡", "...", "?!"])


@settings(max_examples=300, deadline=None)
@given(
    stops,
    st.sampled_from(["", "", "1", "1,2", "12–14"]),
    st.lists(closings, max_size=3).map("".join),
    st.sampled_from(["stop", None]),
)
def test_a_stop_ends_a_text_whatever_note_or_sign_stands_behind_it(stop, note, closing, reason):
    assert passes(f"{FINISHED}{stop}{note}{closing}", reason)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["", "- ", "1. ", "> ", "**Note:** "]),
    st.sampled_from([" the", " of", " and", " between", ",", ":", " (", " [", " –", "、", "，"]),
    st.sampled_from(["stop", None]),
)
def test_a_text_breaks_off_whatever_it_stands_in(opening, end, reason):
    assert not passes(f"They count herons.\n{opening}They trust the tower{end}", reason)


@settings(max_examples=300, deadline=None)
@given(st.text(), st.sampled_from(["stop", None]))
def test_whatever_is_finished_for_a_recorded_answer_is_so_for_a_model_that_stopped(text, reason):
    assert passes(text, "stop") or not passes(text, None)
