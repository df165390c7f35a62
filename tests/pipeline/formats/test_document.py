"""An answer that is a JSON document: found, checked, explained to the model, and its prose read."""

import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.answering.checks import chosen_checks
from pipeline.answering.evaluate import Evaluator
from pipeline.config.loading import load_job
from pipeline.config.schema import Answer
from pipeline.core.errors import ConfigError
from pipeline.core.records import Completion, Prompt
from pipeline.formats import format_of
from pipeline.formats.document import Document
from tests.support.jobs import job, record
from tests.support.timing import least_seconds

SCHEMA = {
    "type": "object",
    "properties": {
        "summary": {"type": "string", "x-prose": True},
        "code": {"enum": ["open", "closed", "unknown"]},
        "sites": {
            "type": "array",
            "items": {"$ref": "#/$defs/site"},
        },
    },
    "required": ["summary", "code"],
    "additionalProperties": False,
    "$defs": {
        "site": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "nests": {"type": "integer"},
                "note": {"type": "string", "x-prose": True},
            },
            "required": ["name"],
        }
    },
}
GOOD = {
    "summary": "Two ponds were counted.",
    "code": "open",
    "sites": [{"name": "Reed pond", "nests": 4, "note": "Seen from the tower."}, {"name": "Weir"}],
}
FORMAT = Document(SCHEMA, 30)
AS_JSON = json.dumps(GOOD)

PROMPT = Prompt(record(), (), "", "", "")


@pytest.mark.parametrize(
    "said",
    [
        AS_JSON,
        json.dumps(GOOD, indent=2),
        f"```json\n{AS_JSON}\n```",
        f"Here is the document:\n{AS_JSON}\nI hope that helps {{really}}.",
        f"First a try: {{}} and then {AS_JSON}",
        f"{AS_JSON}<|im_end|>",
    ],
)
def test_a_document_is_found_wherever_it_stands(said: str):
    extracted = FORMAT.extract(said)
    assert FORMAT.fault(said) is None
    assert orjson.loads(extracted.document) == GOOD
    assert extracted.prose == "Two ponds were counted.\n\nSeen from the tower."


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"code": "ajar"}, "at $.code: 'ajar' is not one of"),
        ({"summary": None}, "at $.summary: None is not of type 'string'"),
        ({"sites": [{"name": "Weir", "nests": "four"}]}, "at $.sites[0].nests: 'four' is not"),
        ({"rivers": 3}, "Additional properties are not allowed"),
    ],
)
def test_a_fault_names_the_place_in_the_document_and_goes_back_to_the_model(change, said):
    fault = FORMAT.fault(json.dumps(GOOD | change))
    assert said in fault.why
    assert said in fault.ask
    assert "Give the whole document again" in fault.ask


@pytest.mark.parametrize(
    "said", ["", "No idea.", '{"summary": "cut', "{{{{", "[1, 2", "{'a': 1}", "NaN"]
)
def test_what_is_no_document_is_a_fault_and_stays_whole(said: str):
    assert "no JSON document" in FORMAT.fault(said).why
    assert FORMAT.extract(said) == (said, None, None)


@pytest.mark.parametrize(
    "value",
    ["1e999", "-1e999", "1" + "0" * 30, r'"\ud800"', r'{"\udc00": 1}', "[" * 300 + "]" * 300],
)
def test_what_no_column_could_hold_is_no_document_and_ends_no_run(value: str):
    said = f'{{"a": {value}}}'
    plain = Document({"type": "object"}, 30)
    found = Evaluator(chosen_checks({}), 30, plain).evaluate(Completion(said, "stop"), PROMPT)
    assert found.extracted.document != said
    orjson.dumps(found.extracted.document)


@pytest.mark.parametrize("depth", [2, 60, 120, 250])
def test_a_schema_that_refers_to_itself_is_followed_as_deep_as_it_can_be(depth: int):
    nested = Document({"$defs": {"n": {"items": {"$ref": "#/$defs/n"}}}, "$ref": "#/$defs/n"}, 30)
    said = "[" * depth + "]" * depth
    assert (nested.fault(said) is None) == (nested.extract(said).document is not None)
    assert nested.extract(said).answer


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(st.text(max_size=4), json_values, min_size=1, max_size=4),
    st.text("ab :,.", max_size=12),
)
@settings(max_examples=200, deadline=None)
def test_any_document_comes_back_as_it_was_written(value: dict, around: str):
    document = Document({"type": "object", "required": sorted(value)}, 30).extract(
        f"{around}\n{json.dumps(value)}\n{around}"
    )
    assert orjson.loads(document.document) == value


@pytest.mark.parametrize("piece", ["{", "[", '{"a":', "[[", '{"a": [', "{}", "[1,"])
def test_a_model_that_repeats_itself_takes_little_time(piece: str):
    assert least_seconds(lambda: FORMAT.fault(piece * 20_000), tries=2) < 2


def test_word_limits_look_at_the_prose_alone():
    long = GOOD | {"summary": "A pond, and one more. " * 10, "code": "unknown"}
    evaluator = Evaluator(chosen_checks({}), 30, FORMAT)
    checks = {
        c.name: c.passed
        for c in evaluator.evaluate(Completion(json.dumps(long), "stop"), PROMPT).checks
    }
    assert checks["format"]
    assert not checks["word_count"]


def test_without_marked_fields_the_checks_of_prose_step_aside():
    plain = Document({"type": "object"}, 30)
    evaluator = Evaluator(chosen_checks({}), 30, plain)
    found = evaluator.evaluate(Completion(json.dumps({"a": "word " * 99}), "stop"), PROMPT)
    assert {c.name for c in found.checks} == {"format", "complete", "empty"}
    assert all(c.passed for c in found.checks)


def test_a_document_that_was_cut_off_gets_more_tokens():
    evaluator = Evaluator(chosen_checks({"format": "fail"}), 30, FORMAT)
    found = evaluator.evaluate(Completion(AS_JSON[:40], "length", completion_tokens=9), PROMPT)
    assert set(found.repairs) == {"more_tokens"}


def test_the_decoder_and_the_prompt_get_the_schema_without_our_own_keyword():
    assert "x-prose" not in json.dumps(FORMAT.constraint.schema)
    assert "x-prose" not in FORMAT.prompt_words.answer_format
    assert '"$ref":"#/$defs/site"' in FORMAT.prompt_words.answer_format


def write_job(folder, schema: str):
    path = folder / "job.yaml"
    path.write_text(
        f"{{name: a, input: {{uri: x}}, output: {{uri: y}}, answer: {{schema: {schema}}}}}"
    )
    return path


def test_a_schema_is_a_file_or_stands_in_the_job_file(tmp_path):
    (tmp_path / "s.json").write_text(json.dumps(SCHEMA))
    by_name = load_job(write_job(tmp_path, str(tmp_path / "s.json")))
    within = load_job(write_job(tmp_path, json.dumps(SCHEMA)))
    assert by_name.answer == within.answer
    assert format_of(by_name.answer) == Document(SCHEMA, 399)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ('{"type": "objekt"}', "at $.type: 'objekt' is not valid"),
        ('{"$ref": "https://example.org/s.json"}', "no such part of the same schema"),
        ('{"$ref": "#/$defs/none"}', "no such part of the same schema"),
        ('{"$ref": "#"}', "go round in a circle"),
        ("missing.json", "missing.json: the schema cannot be read"),
        ("[1, 2]", "a schema is an object"),
    ],
)
def test_what_is_no_schema_stops_a_job_before_it_starts(tmp_path, schema: str, message: str):
    with pytest.raises(ConfigError) as error:
        load_job(write_job(tmp_path, schema))
    assert message in str(error.value)
    assert "answer.schema" in str(error.value)


def test_a_job_file_s_schema_survives_a_run_file():
    answer = Answer.model_validate({"schema": SCHEMA})
    assert Answer.model_validate(answer.model_dump(mode="json")) == answer


def test_checks_of_one_s_own_see_the_whole_document_and_its_fields(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(
        "from pipeline.answering.checks import Finding\n"
        "def test(subject):\n"
        "    return Finding(subject.fields['year'] == 2021, subject.answer)\n"
    )
    checks = {
        str(file): "fail",
        "page": {"pattern": '"year"'},
        "rule": {"expression": "fields.year > 2000 && answer.startsWith('{')"},
    }
    said = json.dumps(GOOD | {"year": 2021})
    evaluator = Evaluator(chosen_checks(job("in", "out", checks=checks).checks), 30, FORMAT)
    found = {c.name: c for c in evaluator.evaluate(Completion(said, "stop"), PROMPT).checks}
    assert [found[name].passed for name in ("own", "page", "rule")] == [True] * 3
    assert "2021" in found["own"].evidence
