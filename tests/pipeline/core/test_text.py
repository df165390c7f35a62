from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.text import natural


def test_questions_sort_in_natural_order():
    names = ["Q10", "Q2", "Q1", "", "CQ3", "q3"]
    assert sorted(names, key=natural) == ["", "CQ3", "Q1", "Q2", "q3", "Q10"]


@given(st.lists(st.text(), min_size=2, max_size=2))
def test_any_two_names_have_an_order_and_only_equal_names_are_equal(names):
    one, other = map(natural, names)
    assert (one == other) == (names[0] == names[1])
    assert one == other or (one < other) != (other < one)


def test_a_number_too_long_for_python_still_sorts_as_a_number():
    assert sorted(["Q" + "9" * 5000, "Q10", "Q2"], key=natural)[:2] == ["Q2", "Q10"]
