"""Job files as YAML: each ends as a job, or as an error with file and line."""

import codecs
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.config.loading import load_job
from pipeline.config.schema import Answer, EngineConfig, Input, Job, Sampling
from pipeline.core.errors import ConfigError

SMALLEST = "name: papers\ninput: {uri: shards}\noutput: {uri: store}\n"
SECTIONS = ("prompt", "engine", "sampling", "answer", "checks", "report", "notify", "storage")


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("jobs") / "job.yaml"


def outcome(path: Path, data: str | bytes, *overrides: str) -> Job | str:
    """The job, or the first line of the error without the path."""
    path.write_bytes(data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data)
    try:
        return load_job(path, overrides)
    except ConfigError as error:
        return str(error).removeprefix(str(path)).partition("\n")[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: lamp\ninput:\n  uri: {{ SHARDS }}\n", ":3: .*a key must be a word.*quotes"),
        ("name: lamp\ninput: &a\n  uri: in\n  text: *a\n", ":4: .*an alias stands within"),
        (SMALLEST + "storage: &a [*a]\n", ":4: .*an alias stands within"),
        (SMALLEST + "? [a, b]\n: 1\n", ":4: .*a key must be a word"),
        (SMALLEST + "? {a: b}\n: 1\n", ":4: .*a key must be a word"),
        (SMALLEST + "1: x\n", ":4: 1: "),
        (SMALLEST + "storage: {1: x}\n", ":4: storage.1: "),
        (SMALLEST + "on: x\n", ":4: .*the key 'on' is read as a bool; put it in quotes"),
        (SMALLEST + "engine:\n\tkind: vllm\n", ":5: .*cannot start any token"),
        (SMALLEST + "---\nname: other\n", ":4: .*another document"),
        (SMALLEST + "sampling:\n  seed: 1\n  seed: 2\n", ":6: .*the key 'seed' is here twice"),
        (SMALLEST + "storage: {since: 2024-02-31}\n", ":4: .*no timestamp"),
        (SMALLEST + "storage: {a: !!int x}\n", ":4: .*no int"),
        (SMALLEST + "storage: {a: !!bool x}\n", ":4: .*no bool"),
        (SMALLEST + "storage: {a: !!timestamp x}\n", ":4: .*no timestamp"),
        (SMALLEST + "storage: {a: 0x_}\n", ":4: .*no int"),
        (SMALLEST + "storage: " + "[" * 1000 + "]" * 1000, ":4: .*more than 50 levels"),
        (SMALLEST + "storage: " + "{a: " * 5000, ":4: .*more than 50 levels"),
        (SMALLEST + "storage: {a: \0}\n", ":4: .*is not allowed"),
        ("- name\n- input\n", ":1: a job file must be a mapping"),
        ("only words", ":1: a job file must be a mapping"),
        ("", ":1: a job file must be a mapping"),
        ("# nothing\n", ":1: a job file must be a mapping"),
        ("%YAML 3.0\n---\n" + SMALLEST, ":1: .*incompatible"),
        (SMALLEST + "engine:\n  kind: vllm\n  replicas: 0\n", ":6: engine.replicas: "),
        (SMALLEST + "engine:\n  kind: gpt\n  replicas: 0\n", ":5: engine.kind: "),
        (SMALLEST + "sampling:\n  seed: 1\n  stop: [a, 2]\n", ":6: sampling.stop.1: "),
        (SMALLEST + "sampling:\n\n  temprature: 1\n", ":6: .*did you mean 'temperature'"),
        ("name: papers\noutput: {uri: x}\n", ":1: input: missing"),
        ("name: papers\ninput:\n  # uri: x\noutput: {uri: x}\n", ":2: input.uri: missing"),
        (SMALLEST + "storage:\n  use_ssl: true\n  secret: b\n", ":6: storage.secret: "),
        (SMALLEST + "x: " + "y" * 10_000, r":4: x: unknown key"),
    ],
    ids=lambda text: text[-40:],
)
def test_yaml_that_is_no_job_file_is_an_error_with_its_line(path, text, says):
    found = outcome(path, text)

    assert isinstance(found, str)
    assert re.match(says, found)
    assert len(found) < 600


def test_aliases_that_stand_for_billions_of_values_are_refused(path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]

    found = outcome(path, "\n".join(lines))

    assert isinstance(found, str)
    assert "more than 100,000 values" in found


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("empty", [":", ": null", ": ~", ":\n  # a: 1"])
def test_an_empty_section_is_its_defaults(path, section, empty):
    assert outcome(path, SMALLEST + section + empty) == outcome(path, SMALLEST)


def test_an_empty_section_within_a_section_is_its_defaults(path):
    text = SMALLEST + "report:\n  price:\n  # currency: EUR\nengine:\n  replicas:\n  options:\n"

    assert outcome(path, text) == outcome(path, SMALLEST)


def test_an_override_reaches_into_an_empty_section(path):
    job = outcome(path, SMALLEST + "sampling:\nanswer:\n", "sampling.seed=4")

    assert isinstance(job, Job)
    assert (job.sampling, job.answer) == (Sampling(seed=4), Answer())


def test_an_anchor_may_be_used_again(path):
    job = outcome(path, SMALLEST + "storage: {a: &a {k: 1}, b: *a, c: {<<: *a, l: 2}}\n")

    assert isinstance(job, Job)
    assert job.storage == {"a": {"k": 1}, "b": {"k": 1}, "c": {"k": 1, "l": 2}}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_byte_order_mark_is_read_over(path, newline):
    data = SMALLEST.replace("\n", newline).encode("utf-8-sig")

    assert outcome(path, data) == outcome(path, SMALLEST)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_another_encoding_is_named(path, encoding):
    mark = codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b""
    found = outcome(path, mark + SMALLEST.encode(encoding))

    assert found == ":1: the job file is UTF-16 or UTF-32; save it as UTF-8"


def test_bytes_that_are_no_text_have_a_line(path):
    assert outcome(path, SMALLEST.encode() + b"# caf\xe9") == (
        ":4: the job file is not UTF-8; save it as UTF-8"
    )


def test_a_wrong_override_is_no_line_of_the_file(path):
    found = outcome(path, SMALLEST, "engine.replicas=0")

    assert isinstance(found, str)
    assert found.startswith(": engine.replicas: ")


@pytest.mark.parametrize(
    "text", ["{{ X }}", "&a [*a]", "[" * 2000, "!!int x", "a: b: c", "2024-02-31"]
)
def test_an_override_that_is_no_yaml_names_its_key(path, text):
    path.write_text(SMALLEST)

    with pytest.raises(ConfigError, match=r"^override storage\.a: not valid YAML: "):
        load_job(path, [f"storage.a={text}"])


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.dates()
    | st.binary(max_size=4)
    | st.sampled_from(["vllm", "off", "1/3", "fail", "text", "0", ".nan"])
)
fields = st.sampled_from(
    [name for section in (Job, Input, EngineConfig, Sampling) for name in section.model_fields]
)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(fields | scalars, inner, max_size=3)
    ),
    max_leaves=8,
)
pieces = st.lists(
    st.sampled_from(
        [
            *"{}[]:,&*!|>-?#%@`\"' \t\n~<=",
            *("&a ", "*a", "<<: ", "!!set ", "!!omap ", "!!pairs ", "!!binary ", "!!int ", "!x "),
            *(
                "!!python/name:os.x ",
                "---\n",
                "...\n",
                "name: ",
                "input: ",
                "uri",
                "\ufeff",
                "\n  ",
            ),
            *(
                "\\u",
                "\\ud800",
                "\x85",
                "\u2028",
                "1_0",
                "0o9",
                "1:60",
                "2024-13-01",
                ".inf",
                "0x_",
            ),
        ]
    )
    | st.text(max_size=3),
    max_size=25,
).map("".join)


def check(found: Job | str) -> None:
    assert isinstance(found, Job) or re.match(r":[1-9]\d*: ", found)


@settings(max_examples=400, deadline=None)
@given(values)
def test_every_document_that_yaml_can_write_ends_as_a_job_or_an_error_with_a_line(path, value):
    check(outcome(path, yaml.dump(value, allow_unicode=True)))


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(fields, values, max_size=3))
def test_every_value_of_every_field_ends_as_a_job_or_an_error_with_a_line(path, value):
    smallest = yaml.safe_load(SMALLEST)
    check(outcome(path, yaml.dump(smallest | value)))
    check(outcome(path, yaml.dump(smallest | {"engine": value, "sampling": value})))


@settings(max_examples=1000, deadline=None)
@given(pieces, st.sampled_from(["", SMALLEST, SMALLEST + "storage: ", SMALLEST + "engine:\n  "]))
@example("{a: !!set {b}}", SMALLEST + "storage: ")
@example("!!omap [a: 1]", SMALLEST + "storage: ")
def test_every_text_ends_as_a_job_or_an_error_with_a_line(path, text, start):
    check(outcome(path, start + text))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40))
def test_all_bytes_end_as_a_job_or_an_error_with_a_line(path, data):
    check(outcome(path, data))
    check(outcome(path, SMALLEST.encode() + data))
