"""Token ids in a job's sampling parameters, which vLLM would refuse with every request."""

from collections.abc import Iterator, Mapping

from pipeline.config.schema import Job, Sampling
from pipeline.core.errors import ConfigError
from pipeline.engines.model_files import ModelSpec, model_config


def check_token_ids(job: Job) -> None:
    """Raises `ConfigError` for an id beyond the model's vocabulary, as far as that is known."""
    named = list(_ids(job.sampling))
    if not named:
        return
    config = model_config(ModelSpec.of(job))
    inner = config.get("text_config")
    sections = (config, inner if isinstance(inner, Mapping) else {})
    sizes = [s["vocab_size"] for s in sections if isinstance(s.get("vocab_size"), int)]
    for name, token in named:
        if sizes and token >= max(sizes):
            raise ConfigError(
                f"sampling.{name}: {job.engine.model} has no token {token}; its vocabulary has "
                f"{max(sizes):,}, from 0"
            )


def _ids(sampling: Sampling) -> Iterator[tuple[str, int]]:
    for name in ("stop_token_ids", "allowed_token_ids", "logit_bias"):
        for token in getattr(sampling, name) or ():
            yield name, int(token)
