from hypothesis import given
from hypothesis import strategies as st

from pipeline.results.pages.comparison import marked

TEXTS = st.text(alphabet="ab \n\t.é", max_size=60)


def test_the_words_that_changed_are_marked():
    left, right = marked(
        "Three herons  nested\nat the pond.", "Four herons nested by the pond, too."
    )
    assert [piece.strip() for alone, piece in left if alone] == ["Three", "at", "pond."]
    assert [piece.strip() for alone, piece in right if alone] == ["Four", "by", "pond, too."]


@given(TEXTS, TEXTS)
def test_marked_texts_joined_are_the_texts_and_what_is_unmarked_is_on_both_sides(before, after):
    left, right = marked(before, after)
    assert "".join(piece for _, piece in left) == before
    assert "".join(piece for _, piece in right) == after
    same = ["".join(piece for alone, piece in side if not alone).split() for side in (left, right)]
    assert same[0] == same[1]
