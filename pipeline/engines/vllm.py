"""Generates with vLLM in processes of its own: the CUDA build on GPUs, or the CPU build.

The model runs in processes below this one; this one has vLLM's asynchronous front end, the
tokenizer and the supervisor. Importing this module takes seconds.
"""

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from typing import Any, TypeVar

import vllm
from vllm import SamplingParams
from vllm.config import StructuredOutputsConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.exceptions import VLLMClientError
from vllm.inputs import tokens_input
from vllm.usage.usage_lib import UsageContext
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from pipeline.config.schema import Job
from pipeline.core.errors import EngineError, describe
from pipeline.core.records import Completion, Fault, Message
from pipeline.engines.adapter import adapter_of
from pipeline.engines.choice_probabilities import ALTERNATIVES, choice_probabilities
from pipeline.engines.engine import GenerationError, Request
from pipeline.engines.model_files import ModelSpec, context_tokens, model_files
from pipeline.engines.parallelism import parallel_arguments
from pipeline.engines.reasoning_parsers import check_reasoning, reasoning_of
from pipeline.engines.supervisor import EngineDied, Supervisor
from pipeline.engines.token_budget import thought_limit, token_limit
from pipeline.engines.token_ids import check_token_ids
from pipeline.engines.tokenizer import PromptEncoder, load_encoder
from pipeline.engines.vllm_adapter import LoadedAdapter
from pipeline.engines.vllm_options import vllm_options
from pipeline.engines.vllm_processes import (
    descendants,
    error_log,
    kill,
    kill_and_wait,
    marked_processes,
)
from pipeline.engines.vllm_reasoning import Opening, Parts, Reasoner
from pipeline.engines.vllm_requests import Generated, sampling_params
from pipeline.engines.vllm_verdict import conversation_tokens, verdict_of, verdict_sampling
from pipeline.formats import format_of

T = TypeVar("T")

STRUCTURE = "structured_outputs_config"

BACKEND = "guidance"
"""vLLM's grammar backend. With a counted repetition llguidance takes less than 2 ms a token at a
vocabulary of 128,000; xgrammar, which `auto` would choose, takes hundreds (`make bench`)."""

STREAM_TOKENS = 64
"""Tokens of a request between two updates; its first token is always reported at once."""

REQUESTS_PER_SEQUENCE = 2
"""Requests in the engine for each sequence that it computes. Those that wait there are ready for
its next step; answers of one length end in the same step, a whole batch of them."""


class VllmEngine:
    """A model that answers in batches; `sample` is a prompt with the roles of all prompts.

    Raises `EngineError` if the model cannot be loaded, `ConfigError` if its chat template refuses
    the sample.
    """

    kind = "vllm"
    version = vllm.__version__

    def __init__(self, job: Job, sample: Sequence[Message]) -> None:
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        check_reasoning(job)
        check_token_ids(job)
        encoder = load_encoder(ModelSpec.of(job))
        encoder.check_shape(sample)
        process = VllmProcess(job, encoder)
        process.start()
        sequences = process.max_num_seqs
        capacity = REQUESTS_PER_SEQUENCE * sequences
        self._supervisor = Supervisor(process, capacity, sequences, job.engine.stall_seconds)

    async def generate(self, request: Request) -> Completion:
        return await self._supervisor.generate(request)


class VllmProcess:
    """vLLM's asynchronous engine, which can be started, killed and started again."""

    def __init__(self, job: Job, encoder: PromptEncoder) -> None:
        self._job = job
        self._encoder = encoder
        self._model = ModelSpec.of(job)
        self._context = context_tokens(self._model)
        self._parser = reasoning_of(job).parser
        self._reasoner = Reasoner(self._parser, encoder, job.engine.chat_template_kwargs)
        self._log = error_log()
        self._tokenizing = ThreadPoolExecutor(1, "tokenizing")
        self._adapter = LoadedAdapter(adapter_of(job), self._log)
        self._request_ids = count()
        self._llm: Any = None
        self._processes: set[Any] = set()
        self._defaults: dict[str, Any] = {}  # the sampling parameters that the model came with

    @property
    def max_num_seqs(self) -> int:
        return int(self._llm.vllm_config.scheduler_config.max_num_seqs)

    def start(self) -> None:
        """Loads the model in half a minute or more; raises `EngineError` with vLLM's own reason."""
        self._log.clear()
        before = descendants()
        try:
            arguments = AsyncEngineArgs(**self._arguments())
            with marked_processes():
                # With the batch sizes that vLLM gives its own offline class on this GPU.
                self._llm = AsyncLLM.from_engine_args(
                    arguments, usage_context=UsageContext.LLM_CLASS
                )
        except EngineError:
            raise
        except Exception as error:  # vLLM, torch and drivers raise exceptions of many families
            kill_and_wait(descendants() - before)
            reason = self._log.first_error() or describe(error)
            raise EngineError(f"engine.model: {self._model.name}: {reason}") from error
        self._processes = descendants() - before
        self._defaults = self._llm.model_config.get_diff_sampling_param()
        self._context = self._llm.model_config.max_model_len  # less, if the job leaves it to vLLM

    def kill(self) -> None:
        if self._llm is not None:
            kill(self._processes)  # an orderly shutdown would take seconds
            self._llm.shutdown()
            kill_and_wait(self._processes)
            self._llm = None

    async def generate(self, request: Request, on_tokens: Callable[[], None]) -> Completion:
        if request.choices:
            return await self._verdict(request, on_tokens)
        began = time.monotonic()
        tokens, opening = await self._in_thread(self._encode, request)
        room = self._room(tokens)
        job, thinks = self._job, opening.thinks
        limit = token_limit(job.answer, job.sampling, request, room, thinks)
        thought = thought_limit(job.answer, job.sampling, request, limit, thinks)
        logprobs = _logprobs(job, thinks)
        make = partial(sampling_params, job, request, limit, thought, logprobs, self._defaults)
        generated = await self._generated(request, tokens, make, opening, on_tokens)
        parts = await self._in_thread(self._reasoner.parts, generated, opening)
        completion = Completion(
            text=generated.text,
            finish_reason=generated.finish_reason,
            prompt_tokens=len(tokens),
            cached_tokens=generated.cached_tokens,
            completion_tokens=len(generated.tokens),
            seconds=time.monotonic() - began,
            context_full=generated.finish_reason == "length" and limit == room,
            reasoning_tokens=parts.reasoning_tokens,
            split=parts.split,
            confidence=_confidence(job, generated, parts),
            probabilities=self._probabilities(generated, parts) if logprobs else None,
            tokens=generated.tokens if job.judge else (),
        )
        enforced = job.answer.decoding == "enforced"
        return format_of(job.answer).closed(completion) if enforced else completion

    async def _verdict(self, request: Request, on_tokens: Callable[[], None]) -> Completion:
        encode = partial(conversation_tokens, self._encoder, self._reasoner, request)
        tokens = await self._in_thread(encode)
        self._room(tokens)
        make = partial(verdict_sampling, request.choices)
        generated = await self._generated(request, tokens, make, Opening(), on_tokens)
        ends = frozenset(self._encoder.tokenizer.all_special_ids)
        return verdict_of(request, generated, ends, len(tokens))

    def _room(self, tokens: Sequence[int]) -> int:
        """Tokens of the context that a conversation leaves; raises `GenerationError` for none."""
        room = self._context - len(tokens)
        if room < 1:
            raise GenerationError(
                f"the conversation has {len(tokens):,} tokens, the context {self._context:,}"
            )
        return room

    def _probabilities(self, generated: Generated, parts: Parts) -> Mapping[str, float] | None:
        ends = frozenset(self._encoder.tokenizer.all_special_ids)
        steps = generated.steps(parts.first_of_answer, ends)
        return choice_probabilities(self._job.answer.choices, steps)

    async def _generated(
        self,
        request: Request,
        tokens: Sequence[int],
        make_sampling: Callable[[], SamplingParams],
        opening: Opening,
        on_tokens: Callable[[], None],
    ) -> Generated:
        """What vLLM generates; raises `EngineDied`, or `GenerationError` for this request alone."""
        generated = Generated()
        try:
            sampling = make_sampling()
            sampling.skip_special_tokens &= not self._reasoner.keeps_special_tokens
            prompt, number = tokens_input(list(tokens)), str(next(self._request_ids))
            arguments = self._reasoner.arguments(opening)
            lora = await self._adapter.request(self._llm)
            arguments |= {"lora_request": lora, "priority": -request.attempt}
            async for update in self._llm.generate(prompt, sampling, number, **arguments):
                on_tokens()
                generated.add(update)
        except EngineDeadError as error:
            reason = self._log.first_error() or "its process ended without an error message"
            raise EngineDied(reason) from error
        except (ValueError, VLLMClientError, EngineGenerateError) as error:
            raise GenerationError(describe(error.__cause__ or error)) from error
        return generated

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        """Works beside the event loop, in a single thread: tokenizers are not thread-safe."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._tokenizing, work, *arguments)
        except Fault as fault:
            raise GenerationError(str(fault)) from fault

    def _encode(self, request: Request) -> tuple[list[int], Opening]:
        tokens = self._encoder.encode(request.messages)
        return tokens, self._reasoner.opening(request.messages)

    def _arguments(self) -> dict[str, Any]:
        """vLLM's engine arguments: defaults for batch jobs, the job's options over them, and over
        those the model, which has keys of its own in the job file.
        """
        engine, files = self._job.engine, model_files(self._model, weights=True)
        arguments: dict[str, Any] = {
            "max_model_len": self._context,
            "stream_interval": STREAM_TOKENS,
            "scheduling_policy": "priority",  # retries find their conversation in the cache
            "disable_log_stats": True,
        }
        if self._parser:
            arguments["reasoning_parser"] = self._parser
        arguments.update(parallel_arguments(engine))
        arguments.update(self._adapter.arguments())
        arguments.update(vllm_options(self._job))
        structure = {"backend": BACKEND, **(arguments.get(STRUCTURE) or {})}
        arguments[STRUCTURE] = StructuredOutputsConfig(**structure)
        return {**arguments, "model": files.where, "revision": files.revision}


def _logprobs(job: Job, thinks: bool) -> int | None:
    """How many likely tokens a step comes with, None for no log probabilities at all.

    They cost time with every token: for a choice they come unasked only without a thought before.
    """
    if job.answer.choices and (job.engine.confidence or not thinks):
        return ALTERNATIVES
    return 0 if job.engine.confidence else None


def _confidence(job: Job, generated: Generated, parts: Parts) -> float | None:
    return generated.confidence(parts.first_of_answer) if job.engine.confidence else None
