"""A link of an answer stands in its prompt, whatever a PDF's text has done to it there."""

import random

import pytest

from pipeline.answering.checks import known_checks
from pipeline.answering.checks.base import Subject
from pipeline.core.records import Ask, Completion
from tests.pipeline.answering.checks.grounded import judged, only_claim, source_of, unsupported

LINK = "https://github.com/heron-lab/nest_counter"
SIGNS = "abcdefghijklmnopqrstuvwxyz"


def test_check_links_is_a_label_by_default():
    assert known_checks()["links"].level == "label"


@pytest.mark.parametrize(
    "passages",
    [
        f"The code is at {LINK}.",
        "The code is at http://www.github.com/heron-lab/nest_counter/ (accessed in May).",
        "The code is at GITHUB.com/heron-lab/nest_counter.",
        "The code is at https://github. \ncom/heron-lab/nest_counter.",
        "The code is at https://github.com/heron \nlab/nest counter.",
        "The code is at https : // github . com / heron-lab / nest_coun-\nter.",
        "The code is at https://github.com/heron-lab/nest_counter1 We counted.",
        "The code is at https://github.com/heron-lab/nest_counter/blob/main/count.py.",
        "The code is at https://github.com/\n2.3 Study area\nPonds.\nheron-lab/nest_counter",
    ],
)
def test_a_link_that_a_layout_has_damaged_stands_there_all_the_same(passages):
    finding = judged("links", f"The code is at {LINK}.", passages)
    assert finding.passed
    assert not finding.claims


@pytest.mark.parametrize(
    "written",
    [
        "<https://github.com/heron-lab/nest_counter>.",
        "[GitHub](https://github.com/heron-lab/nest_counter).",
        "(https://github.com/heron-lab/nest_counter),",
        "**https://github.com/heron-lab/nest_counter**",
        "`github.com/heron-lab/nest_counter`",
        r"https://github.com/heron-lab/nest\_counter",
        "https://github.com/heron-lab/nest_counter.git.",
        "www.github.com/heron-lab/nest_counter",
    ],
)
def test_signs_around_a_link_are_no_part_of_it(written):
    passages = f"The code is at {LINK}."
    assert judged("links", f"The code is here: {written}", passages).passed
    other = judged("links", f"The code is here: {written.replace('nest', 'pond')}", passages)
    assert not other.passed


@pytest.mark.parametrize(
    ("said", "held"),
    [
        ("https://doi.org/10.1234/heron.2021.7", "doi:10.1234/heron.2021.7"),
        ("http://dx.doi.org/10.1234/heron.2021.7", "https://doi.org/10.1234/ \nheron.2021.7"),
        ("10.1234/heron.2021.7", "DOI 10.1234/HERON.2021.7"),
        ("https://doi.org/10.1016/0034-4257(91)90031-Z", "10.1016/0034-4257(91)90031-Z."),
        ("https://arxiv.org/abs/2101.01234", "arXiv:2101.01234v2 [cs.CV]"),
        ("arXiv preprint arXiv:2101.01234", "https://arxiv.org/pdf/2101.01234"),
    ],
)
def test_a_doi_and_an_arxiv_id_are_the_same_in_every_form(said, held):
    assert judged("links", f"See {said}.", f"It was published ({held}).").passed
    other = said[:-1] + ("8" if said[-1] != "8" else "9")
    assert not judged("links", f"See {other}.", f"It was published ({held}).").passed


@pytest.mark.parametrize(
    ("said", "held"),
    [
        ("https://zenodo.org/record/4455667", "doi:10.5281/zenodo.4455667"),
        ("https://doi.org/10.5281/zenodo.4455667", "https://zenodo.org/records/4455667"),
        ("https://www.movebank.org/", "Tracks are kept at Movebank."),
        ("https://cran.heron-project.org/web/nests", "ron-project.org/web/nests."),
    ],
)
def test_another_address_of_what_the_prompt_holds_is_derived(said, held):
    finding = judged("links", f"The data are at {said}.", held)
    assert finding.passed
    assert only_claim(finding).kind == "derived"


@pytest.mark.parametrize(
    "answer",
    ["We reached mAP@0.5 of 0.9 and/or less.", "Write to ann@heron.org.", "At 3/4 of all ponds."],
)
def test_mail_addresses_metrics_and_fractions_are_no_links(answer):
    assert judged("links", answer, "We counted.").evidence == "no links that the passages lack"


def test_a_claim_points_at_the_link_of_the_prompt_that_is_most_like_it():
    passages = "Rain fell. Nests are at https://zenodo.org/ponds. The code is at " + LINK + "."
    said = "https://github.com/heron-lab/egg_counter"
    finding = judged("links", f"The code is at {said}.", passages)
    assert source_of(only_claim(finding), passages) == LINK
    assert said in finding.evidence
    assert isinstance(finding.repair, Ask)
    assert said in finding.repair.words


def test_a_link_is_claimed_once():
    finding = judged("links", f"The code is at {LINK}; once more: {LINK}", "We counted.")
    assert only_claim(finding).text == LINK


def test_without_a_prompt_nothing_is_unsupported():
    bare = Subject(Completion(LINK, "stop"), LINK, "", 399)
    assert known_checks()["links"].test(bare).passed


@pytest.mark.parametrize("seed", range(60))
def test_a_changed_part_of_a_path_is_found(seed):
    rng = random.Random(seed)
    parts = ["".join(rng.choices(SIGNS, k=rng.randint(4, 9))) for _ in range(rng.randint(2, 4))]
    held = "https://github.com/" + "/".join(parts)
    changed = rng.randrange(len(parts))
    old = parts[changed]
    at = rng.randrange(len(old))
    swaps = [
        old[:at] + rng.choice([s for s in SIGNS if s != old[at]]) + old[at + 1 :],
        old[:at] + old[at + 1 :],
        "".join(rng.choices(SIGNS, k=6)),
    ]
    parts[changed] = rng.choice(swaps)
    said = "https://github.com/" + "/".join(parts)
    passages = f"The code of the counter, with all data, is at {held}. Herons nest there."
    assert judged("links", f"The code is at {held}.", passages).passed
    assert unsupported(judged("links", f"The code is at {said}.", passages)) == [said]
