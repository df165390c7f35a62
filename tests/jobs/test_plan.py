"""The changes that a plan shows of a prompt whose passages may be reordered."""

from jobs.plan import differing_lines


def test_lines_that_only_moved_are_no_change():
    assert differing_lines(["a", "b", "c"], ["c", "a", "b"]) == ([], [])


def test_lines_that_changed_are_shown_and_repetitions_counted():
    assert differing_lines(["a", "b", "b"], ["b", "a", "x"]) == (["b"], ["x"])
