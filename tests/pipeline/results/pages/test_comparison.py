from hypothesis import given
from hypothesis import strategies as st

from pipeline.results.pages.comparison import diff_words

TEXTS = st.text(alphabet="ab \n\t.é", max_size=60)


def test_changed_words_are_found():
    left, right = diff_words(
        "Three herons  nested\nat the pond.", "Four herons nested by the pond, too."
    )
    assert [piece.strip() for new, piece in left if new] == ["Three", "at", "pond."]
    assert [piece.strip() for new, piece in right if new] == ["Four", "by", "pond, too."]


@given(TEXTS, TEXTS)
def test_pieces_joined_are_the_texts_and_unmarked_pieces_are_on_both_sides(before, after):
    left, right = diff_words(before, after)
    assert "".join(piece for _, piece in left) == before
    assert "".join(piece for _, piece in right) == after
    same = ["".join(piece for new, piece in side if not new).split() for side in (left, right)]
    assert same[0] == same[1]
