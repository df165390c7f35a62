from pathlib import Path

import pytest

from pipeline.config.loading import load_job
from pipeline.core.errors import ConfigError

SMALLEST = "name: papers\ninput: {uri: shards}\noutput: {uri: store}\n"


def load(tmp_path: Path, text: str, *overrides: str):
    path = tmp_path / "job.yaml"
    path.write_text(text)
    return load_job(path, overrides)


def test_the_smallest_job_file_has_sensible_defaults(tmp_path):
    job = load(tmp_path, SMALLEST)
    assert job.answer.max_words == 399
    assert job.prompt.template == "verbatim"
    assert job.engine.kind == "extractive"


@pytest.mark.parametrize(
    ("kind", "gpus", "rows_per_file"),
    [("extractive", 0, 4000), ("recorded", 0, 4000), ("vllm", 1, 200), ("openai", 0, 200)],
)
def test_each_engine_has_its_own_defaults(tmp_path, kind, gpus, rows_per_file):
    job = load(tmp_path, SMALLEST, f"engine.kind={kind}")
    assert (job.engine.gpus, job.rows_per_file) == (gpus, rows_per_file)
    own = load(tmp_path, SMALLEST, "engine.gpus_per_replica=2", "output.rows_per_file=7")
    assert (own.engine.gpus, own.rows_per_file) == (2, 7)


def test_overrides_reach_into_sections(tmp_path):
    job = load(tmp_path, SMALLEST, "engine.kind=recorded", "answer.max_words=50", "checks.echo=off")
    assert (job.engine.kind, job.answer.max_words) == ("recorded", 50)
    assert job.checks == {"echo": "off"}


def test_a_prompt_may_be_a_path_or_a_mapping(tmp_path):
    short = load(tmp_path, SMALLEST + "prompt: a.md\n", "prompt.passages=as_given")
    long = load(tmp_path, SMALLEST + "prompt: {template: a.md}\n")
    assert short.prompt == long.prompt


def test_an_unquoted_off_is_a_level_though_yaml_reads_it_as_false(tmp_path):
    assert load(tmp_path, SMALLEST + "checks: {format: off}\n").checks == {"format": "off"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SMALLEST + "engin: {}\n", "engin: unknown key; did you mean 'engine'?"),
        (SMALLEST + "engine: {knd: recorded}\n", "engine.knd: unknown key; did you mean 'kind'?"),
        (
            SMALLEST + "engine: {kind: gpt}\n",
            "engine.kind: input should be 'extractive', 'recorded'",
        ),
        (SMALLEST + "engine: {replicas: 0}\n", "engine.replicas: input should be greater than 0"),
        (
            SMALLEST + "engine: {stall_seconds: 0}\n",
            "engine.stall_seconds: input should be greater",
        ),
        (SMALLEST + "answer: {decoding: strict}\n", "answer.decoding: input should be 'free' or"),
        (SMALLEST + "input: {overflow: cut}\n", "the key 'input' is here twice"),
        (SMALLEST + "sampling: {temprature: 1}\n", "did you mean 'temperature'?"),
        (SMALLEST + "failure_budget: 2\n", "failure_budget: input should be less than"),
        (SMALLEST + "checks: {echo: maybe}\n", "checks.echo: input should be 'fail', 'label'"),
        (SMALLEST + "name: again\n", "the key 'name' is here twice"),
        ("name: papers\noutput: {uri: x}\n", "input: missing"),
        ("- a\n", "a job file must be a mapping"),
        ("name: [\n", "not valid YAML"),
        (SMALLEST + "storage: {secret: abc}\n", "storage.secret: a job file holds no secrets"),
        (SMALLEST + "storage: {client_kwargs: {aws_secret_access_key: a}}\n", "holds no secrets"),
        (SMALLEST + "storage: {endpoint_url: 'http://me:pw@host'}\n", "a password in a URI"),
        (SMALLEST + "storage: {endpoint_url: 'http://:pw@host'}\n", "a password in a URI"),
    ],
)
def test_an_error_in_a_job_file_names_the_file_and_the_field(tmp_path, text, message):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "job.yaml"))
    assert str(caught.value).count("\n") <= 1


def test_a_secret_is_not_repeated_in_the_message(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, SMALLEST + "storage: {secret: hunter2hunter2}\n")
    assert "hunter2" not in str(caught.value)


def test_a_user_name_in_a_uri_is_no_secret(tmp_path):
    job = load(tmp_path, SMALLEST, "storage.endpoint_url=http://me@host:9000")
    assert job.storage == {"endpoint_url": "http://me@host:9000"}


def test_max_tokens_is_no_secret(tmp_path):
    assert load(tmp_path, SMALLEST + "sampling: {max_tokens: 64}\n").sampling.max_tokens == 64


@pytest.mark.parametrize("override", ["engine", "=x", "name.first=x", "engine.kind=[", "a: b"])
def test_an_override_that_cannot_be_applied_is_refused(tmp_path, override):
    with pytest.raises(ConfigError):
        load(tmp_path, SMALLEST, override)


def test_the_error_for_a_missing_job_file_names_it(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_job(tmp_path / "none.yaml")


def test_yaml_tags_build_no_objects(tmp_path):
    with pytest.raises(ConfigError, match="not valid YAML"):
        load(tmp_path, SMALLEST + "storage: !!python/object/apply:os.system ['true']\n")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("{paperid: doi}", ":3: input.fields.paperid: unknown key; did you mean 'paper_id'?"),
        ("{question: ''}", ":3: input.fields.question: string should have at least 1 character"),
        ("{question: [a]}", ":3: input.fields.question: input should be a valid string"),
        ("{paper_id: doi}, format: text", ":3: input: fields: text files have no columns"),
        ("{prompt: text}, format: openai-batch", ":3: input: fields.prompt: a line of a batch"),
    ],
)
def test_a_mapping_of_columns_that_cannot_work_is_refused(tmp_path, fields, message):
    path = tmp_path / "job.yaml"
    path.write_text(f"name: a\noutput: {{uri: out}}\ninput: {{uri: in, fields: {fields}}}\n")

    with pytest.raises(ConfigError) as caught:
        load_job(path)

    assert message in str(caught.value)


def test_columns_are_mapped_in_the_file_or_by_an_override(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(
        "name: a\noutput: {uri: out}\ninput:\n  uri: in\n  fields: {paper_id: doi, question: q}\n"
    )

    fields = load_job(path, ["input.fields.question=query"]).input.fields

    assert fields.model_dump(exclude_none=True) == {"paper_id": "doi", "question": "query"}
