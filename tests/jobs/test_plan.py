"""What a plan shows of a prompt whose passages are free to move."""

from jobs.plan import lines_apart


def test_lines_that_only_moved_are_no_change():
    assert lines_apart(["a", "b", "c"], ["c", "a", "b"]) == ([], [])


def test_lines_that_changed_are_shown_and_repetitions_counted():
    assert lines_apart(["a", "b", "b"], ["b", "a", "x"]) == (["b"], ["x"])
