"""vLLM's prefix cache, acted out: how much of each prompt it would be found to hold.

Kept is what counts: blocks of so many tokens, each known by all tokens up to its end; batches that
go on step by step within a number of sequences and a budget of tokens, first come, first served;
blocks that a finished request leaves, remembered until they are taken, those unused for longest
first, and of one request its last ones. So it is in `KVCacheManager`, `BlockPool` and `Scheduler`
of vLLM 0.26 to 0.32. Time there is none.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from pipeline.config.schema import Job
from pipeline.engines.model_files import cache_bytes_per_token

CPU_BLOCK_TOKENS, GPU_BLOCK_TOKENS = 128, 16
"""Of vLLM's two builds, where the job says nothing."""

Name: TypeAlias = int
"""What a full block is known by: a hash of all tokens up to its end."""


@dataclass(frozen=True, slots=True)
class Batching:
    """What an engine works with; `blocks` is None for a cache that forgets nothing."""

    blocks: int | None
    block_tokens: int = 16
    sequences: int = 256
    step_tokens: int = 8192


def block_tokens(job: Job) -> int:
    """Tokens that are found together or not at all."""
    given = job.engine.options.get("block_size")
    on_cpu = job.engine.kind == "vllm" and not job.engine.gpus
    return int(given or (CPU_BLOCK_TOKENS if on_cpu else GPU_BLOCK_TOKENS))


def batching_of(job: Job) -> Batching:
    """What the job's engine works with, as far as the job tells."""
    options, size = job.engine.options, block_tokens(job)
    blocks, memory = options.get("num_gpu_blocks_override"), options.get("kv_cache_memory_bytes")
    if blocks is None and memory is not None:
        each = cache_bytes_per_token(job)
        blocks = memory // (each * size) if each else None
    default = Batching(blocks, size)
    return Batching(
        blocks,
        size,
        options.get("max_num_seqs") or default.sequences,
        options.get("max_num_batched_tokens") or default.step_tokens,
    )


def cached_tokens(
    prompts: Sequence[Sequence[int]], answers: Sequence[int], batching: Batching
) -> list[int]:
    """Tokens of each prompt that are found in the cache, where they come in this order.

    `answers` are the tokens that each will be answered with, one at the least.
    """
    return _Engine(prompts, answers, batching).run()


@dataclass(slots=True, eq=False)
class _Request:
    number: int
    names: list[Name]
    tokens: int  # of the prompt, and of the answer as far as it was given before a new start
    left: int  # tokens of the answer to come
    computed: int = 0
    blocks: list[int] = field(default_factory=list)


class _Cache:
    """Blocks, who uses them, and where the known ones lie."""

    def __init__(self, blocks: int) -> None:
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(blocks))
        self._users = [0] * blocks
        self._names: dict[int, Name] = {}
        self._blocks: dict[Name, int] = {}

    def find(self, names: Sequence[Name]) -> list[int]:
        """The blocks of the longest beginning that is known."""
        found = []
        for name in names:
            if (block := self._blocks.get(name)) is None:
                break
            found.append(block)
        return found

    def has_room(self, fresh: int, beside: Sequence[int]) -> bool:
        """Whether so many blocks are free when those `beside` are used again."""
        return len(self._free) - sum(block in self._free for block in beside) >= fresh

    def use(self, blocks: Sequence[int]) -> None:
        for block in blocks:
            self._free.pop(block, None)
            self._users[block] += 1

    def take(self) -> int:
        """A free block; what it held is forgotten."""
        block, _ = self._free.popitem(last=False)
        if (name := self._names.pop(block, None)) is not None:
            self._blocks.pop(name, None)
        self._users[block] = 1
        return block

    def name(self, block: int, name: Name) -> None:
        if name not in self._blocks:
            self._names[block], self._blocks[name] = name, block

    def give_back(self, blocks: Sequence[int]) -> None:
        for block in reversed(blocks):
            self._users[block] -= 1
            if not self._users[block]:
                self._free[block] = None


class _Engine:
    """Requests on their way through steps."""

    def __init__(
        self, prompts: Sequence[Sequence[int]], answers: Sequence[int], batching: Batching
    ) -> None:
        self._batching = batching
        self._size = size = batching.block_tokens
        self._waiting = deque(
            _Request(number, _names(prompt, size), len(prompt), max(answer, 1))
            for number, (prompt, answer) in enumerate(zip(prompts, answers, strict=True))
        )
        most = sum((r.tokens + r.left) // size + 1 for r in self._waiting)
        # One block of a real cache stays empty.
        self._cache = _Cache(most if batching.blocks is None else min(batching.blocks - 1, most))
        self._running: list[_Request] = []
        self._found = [-1] * len(self._waiting)

    def run(self) -> list[int]:
        while self._waiting or self._running:
            spent = sum(map(self._go_on, list(self._running)))
            if not self._admit(self._batching.step_tokens - spent) and not spent:
                break  # a prompt that is longer than the cache
            for request in self._running:
                if not request.left:
                    self._cache.give_back(request.blocks)
            self._running = [request for request in self._running if request.left]
        return [max(found, 0) for found in self._found]

    def _admit(self, budget: int) -> int:
        """Starts waiting requests while there is room; returns how many."""
        admitted = 0
        while self._waiting and budget > 0 and len(self._running) < self._batching.sequences:
            request = self._waiting[0]
            # The last token is always computed, for what comes after it.
            held = self._cache.find(request.names[: (request.tokens - 1) // self._size])
            chunk = min(request.tokens - len(held) * self._size, budget)
            if not self._cache.has_room(-(-chunk // self._size), held):
                break
            self._waiting.popleft()
            self._cache.use(held)
            request.blocks, request.computed = held, len(held) * self._size
            if self._found[request.number] < 0:
                self._found[request.number] = request.computed
            self._running.append(request)
            self._compute(request, chunk)
            budget -= chunk
            admitted += 1
        return admitted

    def _go_on(self, request: _Request) -> int:
        """One step of a running request; returns the tokens that it took."""
        if not request.blocks:
            return 0  # it made room for another one
        chunk = min(max(request.tokens - request.computed, 1), self._batching.step_tokens)
        while not self._cache.has_room(self._blocks_for(request, chunk), ()):
            last = self._running.pop()
            self._start_anew(last)
            if last is request:
                return 0
        self._compute(request, chunk)
        return chunk

    def _blocks_for(self, request: _Request, chunk: int) -> int:
        return -(-(request.computed + chunk) // self._size) - len(request.blocks)

    def _compute(self, request: _Request, chunk: int) -> None:
        request.blocks.extend(self._cache.take() for _ in range(self._blocks_for(request, chunk)))
        before = request.computed // self._size
        request.computed += chunk
        for at in range(before, min(request.computed // self._size, len(request.names))):
            self._cache.name(request.blocks[at], request.names[at])
        if request.computed >= request.tokens:
            request.left -= 1

    def _start_anew(self, request: _Request) -> None:
        self._cache.give_back(request.blocks)
        request.tokens = max(request.tokens, request.computed + 1)
        request.computed, request.blocks = 0, []
        self._waiting.appendleft(request)


def _names(prompt: Sequence[int], size: int) -> list[Name]:
    names, name = [], 0
    for at in range(0, len(prompt) - size + 1, size):
        name = hash((name, *prompt[at : at + size]))
        names.append(name)
    return names
