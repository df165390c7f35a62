"""A LoRA adapter: found, looked at before a model is loaded, and heard in what vLLM says."""

import shutil
from pathlib import Path
from typing import Any

import fsspec
import pytest

from pipeline.core.errors import ConfigError, EngineError
from pipeline.core.records import Message, Prompt
from pipeline.engines import check_engine
from pipeline.engines.adapter import Adapter, adapter_of
from pipeline.engines.engine import Request
from pipeline.engines.vllm_options import vllm_options
from pipeline.runs.doctor import diagnose
from tests.support.adapters import make_adapter
from tests.support.jobs import S3, record, vllm_job, write_jsonl

CHAT = (Message("user", "How many herons nested at the pond?"),)


def job(model: Path, adapter: str | Path, **sections: Any):
    return vllm_job(model, engine={"adapter": str(adapter)}, **sections)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return make_adapter(tmp_path / "cautious")


@pytest.mark.parametrize(
    ("rank", "pattern", "allowed"),
    [(1, {}, 1), (4, {}, 8), (8, {}, 8), (9, {}, 16), (4, {"q_proj": 20}, 32), (500, {}, 512)],
)
def test_vllm_is_told_the_next_rank_that_it_has(
    tiny_model, tmp_path, rank: int, pattern: dict[str, int], allowed: int
):
    folder = make_adapter(tmp_path / "a", rank=rank, rank_pattern=pattern)
    found = adapter_of(job(tiny_model, folder))
    assert found == Adapter(str(folder), folder, max([rank, *pattern.values()]))
    assert found.arguments() == {"enable_lora": True, "max_lora_rank": allowed}
    assert vllm_options(job(tiny_model, folder, options=found.arguments()))


def test_a_job_without_an_adapter_has_none(tiny_model):
    assert adapter_of(vllm_job(tiny_model)) is None


def refused(model: Path, adapter: str | Path, **sections: Any) -> str:
    with pytest.raises(EngineError) as caught:
        adapter_of(job(model, adapter, **sections))
    assert caught.value.exit_code == 3
    assert len(str(caught.value).splitlines()) <= 2
    said = str(caught.value)
    assert said.startswith(f"engine.adapter: {adapter}: ")
    return said.removeprefix(f"engine.adapter: {adapter}: ")


def test_a_missing_one_is_named(tiny_model, tmp_path):
    assert refused(tiny_model, tmp_path / "none") == "no such folder on this node"
    assert "the hub cannot be reached" in refused(tiny_model, "someone/cautious")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (None, "has no adapter_config.json; give an adapter as PEFT saves it"),
        (b"{", "adapter_config.json: JSONDecodeError"),
        (b"[]", "adapter_config.json is not that of a LoRA adapter"),
        (b'{"peft_type": "PREFIX_TUNING", "r": 8}', "is not that of a LoRA adapter"),
        (b'{"peft_type": "LORA"}', "adapter_config.json has no rank above 0 (r)"),
        (b'{"r": 0}', "adapter_config.json has no rank above 0 (r)"),
        (b'{"r": 8, "rank_pattern": {"q_proj": "x"}}', "has no rank above 0 (r)"),
        (b'{"r": 4096}', "has rank 4096; vLLM has 512 at most"),
    ],
)
def test_what_is_no_adapter_is_refused(tiny_model, adapter, config: bytes | None, reason: str):
    (adapter / "adapter_config.json").unlink()
    if config is not None:
        (adapter / "adapter_config.json").write_bytes(config)
    assert reason in refused(tiny_model, adapter)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (
            {"hidden": 32},
            "is for a model whose layers.0.mlp.down_proj is 32 × 64; in M it is 64 × 128",
        ),
        ({"hidden": 128}, "whose layers.0.mlp.down_proj is 128 × 256; in M it is 64 × 128"),
        ({"layers": 3}, "changes layers.2.mlp.down_proj, and M has 2 layers"),
    ],
)
def test_one_for_another_model_is_refused(tiny_model, tmp_path, shape: Any, reason: str):
    """vLLM itself would take each of these: it fills a corner, or leaves layers out."""
    folder = make_adapter(tmp_path / "other", **shape)
    assert reason in refused(tiny_model, folder).replace(str(tiny_model), "M")


def test_one_for_fewer_layers_fits(tiny_model, tmp_path):
    assert adapter_of(job(tiny_model, make_adapter(tmp_path / "some", layers=1)))


def test_one_in_a_store_is_fetched_once(tiny_model, adapter, moto_s3: S3, tmp_path, monkeypatch):
    monkeypatch.setenv("OVERNIGHT_CACHE", str(tmp_path / "cache"))
    fs = fsspec.filesystem("s3", endpoint_url=moto_s3.endpoint, skip_instance_cache=True)
    fs.mkdir("adapters")
    fs.put(f"{adapter}/", "adapters/cautious/", recursive=True)
    stored = job(tiny_model, "s3://adapters/cautious", storage=moto_s3.storage())
    small, whole = (adapter_of(stored, weights) for weights in (False, True))
    assert small
    assert whole
    assert [p.name for p in small.folder.iterdir()] == ["adapter_config.json"]
    assert {p.name: p.read_bytes() for p in whole.folder.iterdir()} == {
        p.name: p.read_bytes() for p in adapter.iterdir()
    }
    assert adapter_of(stored) == whole
    nothing = "s3://adapters/none"
    assert refused(tiny_model, nothing, storage=moto_s3.storage()) == "no model files there"


@pytest.mark.parametrize("kind", ["extractive", "recorded", "openai"])
def test_other_engines_have_none(kind: str):
    given = job(Path("m"), "cautious").engine
    engine = given.model_copy(update={"kind": kind, "options": {}})
    with pytest.raises(ConfigError, match=r"engine\.adapter: needs engine.kind vllm"):
        check_engine(job(Path("m"), "cautious").model_copy(update={"engine": engine}))


def test_doctor_says_which_and_why_not(tiny_model, adapter, tmp_path):
    def said() -> str:
        line = next(d for d in diagnose(task) if d.name == "model")
        return f"{line.message} ({line.exit_code})"

    write_jsonl(tmp_path / "in/a.jsonl", [])
    task = vllm_job(tiny_model, tmp_path / "in", engine={"adapter": str(adapter)})
    assert f"adapter {adapter}, rank 4" in said()
    shutil.rmtree(adapter)
    assert said() == f"engine.adapter: {adapter}: no such folder on this node (3)"


# With vLLM.


def test_answers_are_the_adapters_and_what_vllm_refuses_is_said(tiny_model, tmp_path, local_vllm):
    """One engine for all of it, beside that of the session, which has no adapter."""
    from pipeline.engines.vllm_adapter import LoadedAdapter
    from tests.support.local_vllm import LocalVllm

    request = Request(Prompt(record(), CHAT, "", "", ""), CHAT, max_tokens=24)
    greedy = {"temperature": 0}
    cautious = job(tiny_model, make_adapter(tmp_path / "cautious"), sampling=greedy)
    (plain,) = local_vllm.generate_as(vllm_job(tiny_model, sampling=greedy), request)
    engine = LocalVllm(cautious)
    try:
        first, second = engine.generate(request, request)
        assert first.text == second.text != plain.text
        assert engine.process._llm.vllm_config.lora_config.max_lora_rank == 8
        odd = make_adapter(tmp_path / "odd", modules=["self_attn.wings"])
        unfit = LoadedAdapter(adapter_of(job(tiny_model, odd)), engine.process._log)
        engine.process._adapter = unfit
        engine._run(engine.process._llm.remove_lora(1))
        with pytest.raises(EngineError) as caught:
            engine.generate_once(cautious, request)
    finally:
        engine.close()
    said = str(caught.value)
    assert said.startswith(f"engine.adapter: {odd}: ")
    assert "wings" in said
    assert len(said.splitlines()) <= 2
