"""Generates on a vLLM engine of its own: the CUDA build on GPUs, or the CPU build.

vLLM runs the model in processes below this one; here are its asynchronous front end, the tokenizer
and the supervisor that keeps it all alive. Importing this module takes seconds.
"""

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import vllm
from vllm import SamplingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.inputs import tokens_input
from vllm.platforms import current_platform
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from pipeline.config.schema import Job
from pipeline.core.errors import EngineError, describe
from pipeline.core.records import Completion, Fault, Message
from pipeline.engines.engine import GenerationError, Request, varied
from pipeline.engines.grammar import BACKEND, answer_regex
from pipeline.engines.model_files import context_tokens, model_files
from pipeline.engines.supervisor import EngineDied, Supervisor
from pipeline.engines.tokenizer import PromptEncoder, load_encoder
from pipeline.engines.vllm_processes import end, error_log, processes_below, strike

LARGE_GPU_BYTES = 70 * 2**30
BATCH_OF_LARGE_GPU = {"max_num_seqs": 1024, "max_num_batched_tokens": 16384}
BATCH = {"max_num_seqs": 256, "max_num_batched_tokens": 8192}
"""What vLLM's own offline class takes by the memory of a GPU. Its asynchronous front end would take
a fraction of it, as suits a server that hurries with every first token."""

STREAM_TOKENS = 64
"""Tokens of a request between two signs of life. The first token is told at once."""

SEQUENCES_A_SPARE = 8
"""For so many sequences of a batch one more request waits within the engine's reach."""

TOKENS_PER_WORD, FRAME_TOKENS = 4, 64
"""What a free answer may take where the job sets no limit. Prose takes 4/3 tokens a word; an answer
that takes three times as much runs in circles."""


class VllmEngine:
    """A model that answers in batches; `sample` is a prompt in the shape of the job's.

    Raises `EngineError` where the model cannot be loaded, `ConfigError` where its chat template
    refuses the sample.
    """

    kind = "vllm"
    version = vllm.__version__

    def __init__(self, job: Job, sample: Sequence[Message]) -> None:
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        encoder = load_encoder(job)
        encoder.check_shape(sample)
        body = VllmBody(job, encoder)
        body.start()
        batch = body.max_num_seqs
        capacity = batch + max(batch // SEQUENCES_A_SPARE, 4)
        self._supervisor = Supervisor(body, capacity, job.engine.stall_seconds)

    async def generate(self, request: Request) -> Completion:
        return await self._supervisor.ask(request)


class VllmBody:
    """vLLM's asynchronous engine as something that can be started, killed and started again."""

    def __init__(self, job: Job, encoder: PromptEncoder) -> None:
        self._job = job
        self._encoder = encoder
        self._log = error_log()
        self._context = context_tokens(job)
        self._tokenizing = ThreadPoolExecutor(1, "tokenizing")
        self._numbers = count()
        self._llm: Any = None
        self._processes: set[Any] = set()
        self._sampling: dict[str, Any] = {}

    @property
    def max_num_seqs(self) -> int:
        return int(self._llm.vllm_config.scheduler_config.max_num_seqs)

    def start(self) -> None:
        """Loads the model, which takes from half a minute to many.

        Raises `EngineError` with vLLM's own reason where it cannot.
        """
        self._log.clear()
        before = processes_below()
        try:
            self._llm = AsyncLLM.from_engine_args(AsyncEngineArgs(**self._arguments()))
        except EngineError:
            raise
        except Exception as error:  # vLLM, torch and drivers raise of many families
            end(processes_below() - before)
            reason = self._log.reason() or describe(error)
            raise EngineError(f"engine.model: {self._job.engine.model}: {reason}") from error
        self._processes = processes_below() - before
        self._sampling = self._llm.model_config.get_diff_sampling_param()

    def kill(self) -> None:
        if self._llm is not None:
            strike(self._processes)  # left to end by themselves, they would take seconds
            self._llm.shutdown()
            end(self._processes)
            self._llm = None

    async def generate(self, request: Request, heard: Callable[[], None]) -> Completion:
        began = time.monotonic()
        tokens = await self._encode(request)
        room = self._context - len(tokens)
        if room < 1:
            raise GenerationError(
                f"the conversation has {len(tokens):,} tokens, the context {self._context:,}"
            )
        limit = token_limit(self._job, request, room)
        pieces, length = [], 0
        try:
            async for output in self._llm.generate(
                tokens_input(tokens),
                parameters(self._job, request, limit, self._sampling),
                request_id=str(next(self._numbers)),
            ):
                heard()
                (said,) = output.outputs
                pieces.append(said.text)
                length += len(said.token_ids)
        except EngineDeadError as error:
            raise EngineDied(self._log.reason() or "its process ended without a word") from error
        except (ValueError, EngineGenerateError) as error:
            raise GenerationError(describe(error.__cause__ or error)) from error
        return Completion(
            text="".join(pieces),
            finish_reason=said.finish_reason,
            prompt_tokens=len(tokens),
            cached_tokens=output.num_cached_tokens or 0,
            completion_tokens=length,
            seconds=time.monotonic() - began,
            context_full=said.finish_reason == "length" and limit == room,
        )

    async def _encode(self, request: Request) -> list[int]:
        """In a thread of its own, beside the event loop; tokenizers are not safe in several."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                self._tokenizing, self._encoder.encode, request.messages
            )
        except Fault as fault:
            raise GenerationError(str(fault)) from fault

    def _arguments(self) -> dict[str, Any]:
        """For vLLM: what suits the job, over it what the job says, over that what is settled."""
        job, files = self._job, model_files(self._job, weights=True)
        arguments: dict[str, Any] = {
            **_batch(),
            "max_model_len": self._context,
            "stream_interval": STREAM_TOKENS,
            "disable_log_stats": True,
            "structured_outputs_config": {"backend": BACKEND},
        }
        if job.engine.gpus > 1:
            # Within a node and below this process, so that the GPUs are those that Ray gave it.
            arguments["tensor_parallel_size"] = job.engine.gpus
            arguments["distributed_executor_backend"] = "mp"
        arguments.update(job.engine.options)
        return {**arguments, "model": files.where, "revision": files.revision}


def token_limit(job: Job, request: Request, room: int) -> int:
    """Tokens that an answer may take, of the `room` that the prompt leaves in the context.

    That is the job's own limit; without one enough for its words, and all the room where the
    decoder counts the words itself: no legal answer is cut while there is room.
    """
    answer, own = job.answer, job.sampling.max_tokens
    enough = room if answer.decoding == "enforced" else answer.max_words * TOKENS_PER_WORD
    limit = (own or enough + FRAME_TOKENS) * 2**request.lengthened
    return min(request.most_tokens or limit, room)


def parameters(
    job: Job, request: Request, limit: int, defaults: Mapping[str, Any]
) -> SamplingParams:
    """What vLLM samples by: the job's parameters over the `defaults` that its model came with."""
    chosen = {**defaults, **job.sampling.model_dump(exclude_none=True), "max_tokens": limit}
    if job.answer.decoding == "enforced":
        regex = answer_regex(job.answer.max_words)
        chosen["structured_outputs"] = StructuredOutputsParams(regex=regex)
    return SamplingParams(**varied(chosen, request), output_kind=RequestOutputKind.DELTA)


def _batch() -> dict[str, int]:
    """How much a batch holds, by the memory of the GPU."""
    if current_platform.is_cpu() or current_platform.get_device_total_memory() < LARGE_GPU_BYTES:
        return BATCH
    return BATCH_OF_LARGE_GPU
