"""Names of models, data sets, software and repositories in an answer stand in its prompt."""

import pytest

from pipeline.answering.checks import known_checks
from tests.pipeline.answering.checks.grounded import judged, only_claim, unsupported


def test_check_names_is_a_label_by_default():
    assert known_checks()["names"].level == "label"


@pytest.mark.parametrize(
    ("said", "held"),
    [
        ("ResNet-50", "ResNet50"),
        ("ResNet50", "a ResNet 50"),
        ("ResNet-34", "ResNet-18, 34 and 50"),
        ("ResNets", "a ResNet"),
        ("TensorFlow", "Tensorﬂow"),
        ("TensorFlow", "tensor flow"),
        ("TensorFlow", "Tensorow"),
        ("EfficientNet-B0", "E(cid:14)cientNet-B0 and EfficientNetB0"),
        ("U-Net", "a U-net"),
        ("YOLOv5", "YOLO v5"),
        ("GBIF", "the Global Biodiversity Information Facility"),
        ("COCO", "common objects in context"),
        ("Google Earth Engine", "computed with GEE"),
        ("CNN-LSTM", "an LSTM behind a CNN"),
        ("TensorFlow-based", "TensorFlow"),
        ("ResNet-50", "a RestNet-50"),
    ],
)
def test_a_name_stands_there_in_any_form(said, held):
    assert not judged("names", f"They used {said} for herons.", f"We used {held} here.").claims


@pytest.mark.parametrize(
    ("said", "held"),
    [
        ("ResNet-101", "ResNet-50"),
        ("VGG19", "VGG16"),
        ("PyTorch", "TensorFlow"),
        ("Keras", "TensorFlow"),
        ("ImageNet", "our own images"),
        ("Figshare", "a repository"),
        ("YOLOv4", "YOLOv3"),
        ("Detectron2", "a model"),
        ("Google Earth Engine", "satellite images"),
        ("COCO", "a palm"),
        ("scikit-learn", "a forest"),
    ],
)
def test_another_name_is_unsupported(said, held):
    finding = judged("names", f"They used {said} for herons.", f"We used {held} for herons.")
    assert unsupported(finding) == [said]
    assert said in finding.evidence
    assert finding.repair


@pytest.mark.parametrize(
    "answer",
    [
        "The passages do not mention TensorFlow.",
        "There is no link to a code repository such as GitLab or Bitbucket.",
        "They mention a tower, but it is not stated whether PyTorch was used.",
        "It is impossible to say whether AWS or Azure was used.",
        "The code is on GitHub, as far as one can tell.",  # the question says it
    ],
)
def test_what_is_denied_or_asked_is_no_claim(answer):
    assert not judged("names", answer, "We counted herons.").claims


def test_what_stands_before_a_denial_is_a_claim():
    answer = "The authors used PyTorch, but they do not mention its version."
    assert unsupported(judged("names", answer, "We counted herons.")) == ["PyTorch"]


@pytest.mark.parametrize(
    "answer",
    [
        "Typically, frameworks such as TensorFlow are chosen.",
        "Keras is a library that runs on top of TensorFlow.",
        "Techniques like SMOTE help with rare classes.",
        "The authors might have used PyTorch.",
        "Common frameworks include TensorFlow and PyTorch.",
    ],
)
def test_general_remarks_and_guesses_are_of_a_kind_of_their_own(answer):
    finding = judged("names", answer, "We counted herons.")
    assert finding.passed
    assert {claim.kind for claim in finding.claims} == {"general"}


@pytest.mark.parametrize(
    "answer",
    [
        "They report AUC, RMSE and an F1-score on JPEG and GeoTIFF images with two GPUs.",
        "McGinn and LeCun counted herons for NASA.",
        "See https://herons.org/PyTorch/ResNet-50 for more.",
        "HERONS ARE THE Best Birds.",
    ],
)
def test_metrics_formats_hardware_people_and_links_are_no_names(answer):
    assert not judged("names", answer, "We counted herons. HERONS ARE many.").claims


def test_a_short_form_is_held_if_the_prompt_holds_what_it_stands_for():
    passages = "We used the nested wetland observation index."
    answer = "They used the nested wetland observation index (NWOI)."
    assert not judged("names", answer, passages).claims


def test_a_name_is_claimed_once_where_it_stands_first():
    finding = judged("names", "They used PyTorch. PyTorch ran well.", "We counted herons.")
    assert only_claim(finding).start == len("They used ")


def test_a_name_that_is_also_part_of_a_general_remark_is_unsupported_where_it_is_stated():
    answer = "Typically, PyTorch is chosen. The authors trained it with PyTorch."
    claim = only_claim(judged("names", answer, "We counted herons."))
    assert claim.kind == "unsupported"
    assert claim.start == answer.rindex("PyTorch")
