"""A LoRA adapter in vLLM's engine. Importing this imports vLLM."""

import asyncio
from typing import Any

from vllm.lora.request import LoRARequest
from vllm.v1.engine.exceptions import EngineDeadError

from pipeline.core.errors import DESCRIBED_CHARACTERS, EngineError, describe
from pipeline.engines.adapter import Adapter
from pipeline.engines.vllm_processes import ErrorLog


class LoadedAdapter:
    """Loads the adapter of a job, if it has one, into each engine before its first request.

    A request with an adapter that vLLM refuses would end the engine.
    """

    def __init__(self, adapter: Adapter | None, log: ErrorLog) -> None:
        self._adapter, self._log = adapter, log
        self._engine: Any = None
        self._loading: asyncio.Task[bool] | None = None

    def arguments(self) -> dict[str, Any]:
        """vLLM's engine arguments for the adapter."""
        return self._adapter.arguments() if self._adapter else {}

    async def request(self, engine: Any) -> LoRARequest | None:
        """What `generate` takes; raises `EngineError` with vLLM's reason if it cannot be loaded."""
        if not (adapter := self._adapter):
            return None
        lora = LoRARequest(adapter.name, 1, str(adapter.folder))
        if self._loading is None or self._engine is not engine:
            self._engine, self._loading = engine, asyncio.ensure_future(engine.add_lora(lora))
        try:
            await asyncio.shield(self._loading)
        except EngineDeadError:
            raise
        except Exception as error:  # of many families, by way of another process
            reason = (self._log.first_error() or describe(error))[:DESCRIBED_CHARACTERS]
            raise EngineError(f"engine.adapter: {adapter.name}: {reason}") from error
        return lora
