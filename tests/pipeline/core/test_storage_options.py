"""Whose the options in `storage` are, and which file system reads a URI."""

import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.loading import load_job
from pipeline.core.errors import ConfigError
from pipeline.core.filesystem import Storage
from pipeline.core.redaction import redacted

ADDRESS = "http://127.0.0.1:9"
GOOGLE = {"endpoint_url": ADDRESS, "token": "anon"}
AZURE = {"account_name": "herons", "anon": True}


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING", raising=False)


SMALLEST = "name: smallest\ninput: {uri: shards}\noutput: {uri: store}\n"


def opened(uri: str, storage: dict[str, Any]) -> tuple[str, str]:
    """The class of the file system and the URI under which it is known."""
    location = Storage(storage).at(uri)
    return type(location.fs).__name__, location.uri


def test_each_scheme_gets_its_own_options() -> None:
    storage = Storage({"s3": {"endpoint_url": ADDRESS, "anon": True}, "gs": GOOGLE, "az": AZURE})

    assert storage.at("s3://b/x").fs.endpoint_url == ADDRESS
    assert storage.at("gs://b/x").fs._location == ADDRESS
    assert storage.at("az://b/x").fs.account_name == "herons"
    assert storage.at("/shards").uri == "file:///shards"


@pytest.mark.parametrize(
    ("scheme", "uris"),
    [
        ("s3", ["s3://b/x", "s3a://b/x"]),
        ("gs", ["gs://b/x", "gcs://b/x"]),
        ("az", ["az://b/x", "abfs://b/x", "abfss://b/x"]),
    ],
)
def test_names_of_one_file_system_share_options_and_the_uri_in_messages(
    scheme: str, uris: list[str]
) -> None:
    options = {"s3": {"anon": True}, "gs": GOOGLE, "az": AZURE}[scheme]
    for named in [uri.partition("://")[0] for uri in uris]:
        assert {opened(uri, {named: options}) for uri in uris} == {
            (opened(uris[0], {scheme: options})[0], f"{scheme}://b/x")
        }


def test_flat_options_are_those_of_s3() -> None:
    flat = {"endpoint_url": ADDRESS, "anon": True}

    assert Storage(flat).at("s3://b/x").fs.endpoint_url == ADDRESS
    for uri, scheme in (("gs://b/x", "gs"), ("abfss://b/x", "az"), ("hf://datasets/a/b", "hf")):
        with pytest.raises(ConfigError, match=rf"{uri}: .*endpoint_url.*s3: .*{scheme}: "):
            Storage(flat).at(uri)


@pytest.mark.parametrize(
    ("storage", "uri", "said"),
    [
        ("{gs: {projct: a}}", "gs://b/x", "storage.gs.projct: .*did you mean 'project'"),
        ("{az: {acount_name: a}}", "az://b/x", "storage.az.acount_name: .*'account_name'"),
        ("{s3: {endpont_url: a}}", "s3://b/x", "storage.s3.endpont_url: .*'endpoint_url'"),
        ("{endpont_url: a}", "s3://b/x", "storage.endpont_url: .*'endpoint_url'"),
        ("{hf: {endpont: a}}", "hf://datasets/a/b", "storage.hf.endpont: .*'endpoint'"),
    ],
)
def test_an_unknown_option_is_an_error_with_the_nearest(
    tmp_path: Path, storage: str, uri: str, said: str
) -> None:
    (path := tmp_path / "job.yaml").write_text(f"{SMALLEST}storage: {storage}\n")

    with pytest.raises(ConfigError, match=said):
        Storage(load_job(path).storage).at(uri)


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        ("{gs: {project: a}, endpoint_url: b}", r"write this one as storage\.s3\.endpoint_url"),
        ("{gs: {project: a}, gcs: {project: b}}", "gs://, gcs:// are one file system"),
        ("{az: herons}", r"storage\.az: write a mapping"),
    ],
)
def test_a_mixture_is_an_error_that_says_how_to_write_it(
    tmp_path: Path, storage: str, said: str
) -> None:
    (path := tmp_path / "job.yaml").write_text(f"{SMALLEST}storage: {storage}\n")

    with pytest.raises(ConfigError, match=rf"job\.yaml:4: storage: .*{said}"):
        load_job(path)


def test_a_hub_dataset_is_no_output(tmp_path: Path) -> None:
    text = SMALLEST.replace("store", "hf://datasets/a/b")
    (path := tmp_path / "job.yaml").write_text(text)

    with pytest.raises(ConfigError, match=r"output.uri: .*hf:// is for input only"):
        load_job(path)
    with pytest.raises(ConfigError, match="hf:// is for input only"):
        Storage().target("hf://datasets/a/b/answers.csv")


@pytest.mark.parametrize(
    ("uri", "module", "extra"),
    [
        ("gs://b/x", "gcsfs", "gcs"),
        ("abfss://b/x", "adlfs", "azure"),
        ("hf://datasets/a/b", "huggingface_hub", "hub"),
    ],
)
def test_a_missing_extra_is_named_with_the_way_to_install_it(
    monkeypatch: pytest.MonkeyPatch, uri: str, module: str, extra: str
) -> None:
    for name in ("pipeline.core.google_store", "pipeline.core.azure_store"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "hf", raising=False)
    for name in (module, f"{module}.core"):
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(ConfigError) as refused:
        Storage().at(uri)

    assert str(refused.value) == f"{uri}: needs the extra {extra}: pip install 'overnight[{extra}]'"


def test_an_account_in_a_uri_of_azure_is_kept_in_it() -> None:
    uri = "abfss://ponds@herons.dfs.core.windows.net/in/a.jsonl"
    location = Storage({"az": {"anon": True}}).at(uri)

    assert (location.path, location.uri) == ("ponds/in/a.jsonl", uri)
    assert location.fs.account_name == "herons"
    assert redacted(uri) == uri
    assert redacted("abfss://some:secret@herons.dfs.core.windows.net") != uri


def test_a_place_in_the_usual_account_has_one_uri_however_it_is_written() -> None:
    storage = Storage({"az": {"account_name": "herons", "anon": True}})
    written = ["az://ponds/in", "abfss://ponds@herons.dfs.core.windows.net/in"]

    assert {storage.at(uri).uri for uri in written} == {"az://ponds/in"}
    other = "abfss://ponds@egrets.dfs.core.windows.net/in"
    assert storage.at(other).uri == other


def test_an_account_in_a_uri_that_the_credentials_are_not_for_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = "AccountName=egrets;AccountKey=aGVyb24=;EndpointSuffix=core.windows.net"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", other)

    with pytest.raises(ConfigError, match=r"the account egrets, and the URI names herons"):
        Storage().at("abfss://ponds@herons.dfs.core.windows.net/in")


def test_a_broken_file_of_google_credentials_is_an_error_and_nobody_is_tried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "gone.json"))

    with pytest.raises(ConfigError, match=r"gs:// cannot be set up .*gone\.json"):
        Storage().at("gs://b/x")
