"""A model in a folder, in an object store or on the hub, and what its files tell."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import boto3
import fsspec
import orjson
import pytest

from pipeline.core.errors import ConfigError, EngineError
from pipeline.engines.model_files import ModelFiles, ModelSpec, context_tokens, model_files
from pipeline.engines.tokenizer import load_encoder
from tests.conftest import S3_KEY, S3_SECRET
from tests.support.jobs import S3, vllm_job


@pytest.fixture(params=["rclone_s3", "moto_s3"])
def bucket(request, tiny_model, tmp_path, monkeypatch) -> tuple[str, S3]:
    """The URI of a model in a bucket, on either server; the cache of this node is empty."""
    monkeypatch.setenv("OVERNIGHT_CACHE", str(tmp_path / "cache"))
    server: S3 = request.getfixturevalue(request.param)
    name = f"models-{tmp_path.name}".replace("_", "-").lower()[-40:].strip("-")
    fs = client(server)
    fs.mkdir(name)
    fs.put(str(tiny_model) + "/", f"{name}/tiny/", recursive=True)
    return f"s3://{name}/tiny", server


def client(server: S3):
    return fsspec.filesystem(
        "s3",
        key=S3_KEY,
        secret=S3_SECRET,
        endpoint_url=server.endpoint,
        use_listings_cache=False,
        skip_instance_cache=True,
        config_kwargs={"response_checksum_validation": "when_required"},
    )


def spec(model: str | Path, **sections) -> ModelSpec:
    return ModelSpec.of(vllm_job(model, **sections))


def stored(bucket: tuple[str, S3]) -> ModelSpec:
    uri, server = bucket
    return spec(uri, storage=server.storage())


def test_a_folder_is_used_in_place(tiny_model):
    assert model_files(spec(tiny_model), weights=True) == ModelFiles(str(tiny_model))


def test_a_name_on_the_hub_comes_with_its_revision(monkeypatch):
    monkeypatch.setattr("pipeline.engines.model_files.check_hub", lambda *_: None)
    model = spec("someone/model", engine={"revision": "abc"})
    assert model_files(model, weights=True) == ModelFiles("someone/model", "abc")


def test_a_path_without_a_folder_is_not_taken_for_a_name_on_the_hub():
    with pytest.raises(EngineError, match="/nowhere/model: no such folder"):
        model_files(spec("/nowhere/model"), weights=True)


def test_a_model_in_a_store_is_fetched_whole(bucket, tiny_model):
    folder = Path(model_files(stored(bucket), weights=True).where)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {
        p.name: p.read_bytes() for p in tiny_model.iterdir()
    }


@pytest.mark.parametrize("bucket", ["moto_s3"], indirect=True)  # rclone stores no such objects
def test_objects_that_stand_for_folders_are_no_files_of_a_model(bucket, tiny_model):
    uri, server = bucket
    name, _, key = uri.removeprefix("s3://").partition("/")
    s3 = boto3.client("s3", endpoint_url=server.endpoint)
    for marker in (f"{key}/", f"{key}_$folder$"):
        s3.put_object(Bucket=name, Key=marker, Body=b"")
    folder = Path(model_files(stored(bucket), weights=True).where)
    assert {p.name for p in folder.iterdir()} == {p.name for p in tiny_model.iterdir()}


def test_without_weights_only_the_small_files_are_fetched(bucket):
    folder = Path(model_files(stored(bucket), weights=False).where)
    names = {path.name for path in folder.iterdir()}
    assert "config.json" in names
    assert "tokenizer.json" in names
    assert not any(name.endswith(".safetensors") for name in names)


def test_a_fetched_model_is_fetched_again_only_when_it_changes(bucket):
    uri, server = bucket
    first = Path(model_files(stored(bucket), weights=True).where)
    (first / "mark").touch()
    assert Path(model_files(stored(bucket), weights=True).where) == first
    with client(server).open(f"{uri}/config.json", "ab") as file:
        file.write(b"\n")
    again = Path(model_files(stored(bucket), weights=True).where)
    assert again != first
    assert not (again / "mark").exists()


def test_a_fetch_that_was_killed_starts_again(bucket, tmp_path):
    folder = Path(model_files(stored(bucket), weights=True).where)
    names = {path.name for path in folder.iterdir()}
    shutil.rmtree(folder)
    partial = folder.with_suffix(".partial")
    partial.mkdir()
    (partial / "config.json").write_text("cut")
    assert Path(model_files(stored(bucket), weights=True).where) == folder
    assert {path.name for path in folder.iterdir()} == names
    assert (folder / "config.json").read_text() != "cut"


FETCH = """
import sys
from pipeline.engines.model_files import ModelSpec, model_files
print(model_files(ModelSpec(sys.argv[1], storage=sys.argv[2]), weights=True).where)
"""


def test_processes_of_a_node_share_one_copy_of_a_model(bucket, tmp_path):
    model = stored(bucket)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FETCH, model.name, model.storage],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        for _ in range(3)
    ]
    folders = {process.communicate(timeout=60)[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(folders) == 1
    assert len([p for p in (tmp_path / "cache/models").iterdir() if p.is_dir()]) == 1


def test_a_store_without_a_model_is_an_error(bucket):
    uri, server = bucket
    with pytest.raises(EngineError, match="none: no model files there"):
        model_files(spec(f"{uri}-none", storage=server.storage()), weights=True)


def test_the_tokenizer_is_read_from_the_store_too(bucket, tiny_model):
    from pipeline.core.records import PLAIN, Message

    messages = (Message(PLAIN, "Herons nested."),)
    here, there = load_encoder(spec(tiny_model)), load_encoder(stored(bucket))
    assert here.encode(messages) == there.encode(messages)


# The context.


def described(folder: Path, **config) -> Path:
    (folder / "config.json").write_bytes(orjson.dumps(config))
    return folder


@pytest.mark.parametrize(
    "config",
    [
        {"max_position_embeddings": 1234},
        {"n_positions": 1234},
        {"text_config": {"max_position_embeddings": 1234}},
    ],
)
def test_the_context_is_what_the_models_configuration_says(tmp_path, config):
    assert context_tokens(spec(described(tmp_path, **config))) == 1234


def test_the_job_may_set_a_shorter_context(tiny_model):
    assert context_tokens(spec(tiny_model)) == 8192
    assert context_tokens(spec(tiny_model, options={"max_model_len": 2000})) == 2000


def test_a_model_that_does_not_say_its_context_needs_it_in_the_job(tmp_path):
    with pytest.raises(ConfigError, match=r"engine\.options\.max_model_len: config\.json of"):
        context_tokens(spec(described(tmp_path, model_type="odd")))


def test_the_error_for_a_folder_without_a_model_names_it(tmp_path):
    with pytest.raises(EngineError, match=str(tmp_path)):
        context_tokens(spec(tmp_path))
