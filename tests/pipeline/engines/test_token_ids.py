"""Token ids of a job against the vocabulary of its model."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.core.errors import ConfigError
from pipeline.engines.token_ids import check_token_ids
from tests.support.jobs import vllm_job


def model(folder: Path, **config: Any) -> Path:
    (folder / "config.json").write_bytes(orjson.dumps(config))
    return folder


@pytest.mark.parametrize("config", [{"vocab_size": 50}, {"text_config": {"vocab_size": 50}}])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stop_token_ids", lambda token: [0, token]),
        ("allowed_token_ids", lambda token: [token]),
        ("logit_bias", lambda token: {token: -1}),
    ],
)
def test_an_id_beyond_the_vocabulary_is_refused(tmp_path, config: Any, name: str, value: Any):
    folder = model(tmp_path, **config)
    check_token_ids(vllm_job(folder, sampling={name: value(49)}))
    with pytest.raises(ConfigError, match=f"sampling.{name}: .*has no token 50; .* has 50"):
        check_token_ids(vllm_job(folder, sampling={name: value(50)}))


def test_a_model_that_does_not_say_its_vocabulary_is_asked_by_vllm(tmp_path):
    check_token_ids(vllm_job(model(tmp_path), sampling={"stop_token_ids": [10**6]}))


def test_without_token_ids_no_model_is_needed():
    check_token_ids(vllm_job("none", sampling={"temperature": 0}))
