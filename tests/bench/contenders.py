"""The same records through the same model by every way, each in a process of its own.

`python -m tests.bench.contenders WAY TASK`: TASK is a JSON file with model, template, records (a
JSONL shard), the chats that the template makes of them, the same chats as Overnight arranges them,
engine options, tokens of an answer, and a folder to write to. vLLM's own processes import this
module again and fail on some imports, so every way imports what it needs.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def overnight(task: dict[str, Any]) -> None:
    """The whole job: reading, arranging, checks and Parquet too."""
    _job(task, "shared_first")


def overnight_as_given(task: dict[str, Any]) -> None:
    """The same, asked for the very prompts that the others get."""
    _job(task, "as_given")


def _job(task: dict[str, Any], passages: str) -> None:
    folder = Path(task["folder"])
    with (folder / "run.json").open("wb") as document:
        command = [sys.executable, "-m", "jobs", "run", str(write_job(task, passages)), "--json"]
        subprocess.run(command, stdout=document, check=True)


def write_job(task: dict[str, Any], passages: str) -> Path:
    """The job file of a task, in its folder beside a store of its own."""
    from tests.support.jobs import job, job_file

    folder = Path(task["folder"])
    engine = {
        "kind": "vllm",
        "model": task["model"],
        "gpus_per_replica": task["gpus"],
        "options": task["options"],
    }
    whole_job = job(
        task["records"],
        folder / "store",
        200,
        prompt={"template": task["template"], "passages": passages},
        engine=engine,
        sampling={"max_tokens": task["tokens"], "ignore_eos": True, "temperature": 1.0},
        attempts=1,
        failure_budget=1.0,
    )
    return job_file(folder / "job.yaml", whole_job)


def offline_class(task: dict[str, Any]) -> None:
    """`LLM.generate` on all prompts at once, which are templated and tokenized before."""
    from vllm import LLM, SamplingParams, TokensPrompt

    llm = LLM(model=task["model"], tensor_parallel_size=max(task["gpus"], 1), **task["options"])
    tokenizer = llm.get_tokenizer()
    prompts = []
    for _, messages in _chats(task):
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        tokens = tokenizer.encode(text, add_special_tokens=False)
        prompts.append(TokensPrompt(prompt_token_ids=tokens))
    sampling = SamplingParams(max_tokens=task["tokens"], ignore_eos=True, temperature=1.0)
    outputs = llm.generate(prompts, sampling, use_tqdm=False)
    assert len(outputs) == len(prompts)
    tokens = {
        "prompt": sum(len(output.prompt_token_ids) for output in outputs),
        "cached": sum(output.num_cached_tokens or 0 for output in outputs),
        "completion": sum(len(output.outputs[0].token_ids) for output in outputs),
    }
    (Path(task["folder"]) / "tokens.json").write_text(json.dumps(tokens))


def offline_class_arranged(task: dict[str, Any]) -> None:
    """The same with the very prompts that Overnight arranges, in its order."""
    offline_class({**task, "chats": task["arranged"]})


def ray_data_llm(task: dict[str, Any]) -> None:
    """Its own stages as they come; the engine options of all contenders."""
    import ray
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    ray.init(address="local", num_cpus=6, log_to_driver=False)
    per_worker = {"GPU": 1} if task["gpus"] else {"CPU": 1}
    config = vLLMEngineProcessorConfig(
        model_source=task["model"],
        engine_kwargs=task["options"],
        log_engine_metrics=False,
        placement_group_config={"bundle_per_worker": per_worker},
    )
    sampling = {"max_tokens": task["tokens"], "ignore_eos": True, "temperature": 1.0}
    processor = build_processor(
        config,
        preprocess=lambda row: {"messages": row["messages"], "sampling_params": sampling},
        postprocess=lambda row: {"id": row["record_id"], "text": row["generated_text"]},
    )
    folder, chats = Path(task["folder"]) / "out", _chats(task)
    rows = [{"record_id": record_id, "messages": messages} for record_id, messages in chats]
    processor(ray.data.from_items(rows)).write_parquet(str(folder))
    assert ray.data.read_parquet(str(folder)).count() == len(chats)


def run_batch(task: dict[str, Any]) -> None:
    """vLLM's command for files of requests."""
    folder = Path(task["folder"])
    requests, responses = folder / "in.jsonl", folder / "out.jsonl"
    with requests.open("w", encoding="utf-8") as file:
        for record_id, messages in _chats(task):
            body = {
                "model": task["model"],
                "messages": messages,
                "max_tokens": task["tokens"],
                "ignore_eos": True,
                "temperature": 1.0,
            }
            line = {"custom_id": record_id, "method": "POST", "url": "/v1/chat/completions"}
            file.write(json.dumps({**line, "body": body}) + "\n")
    subprocess.run(
        [
            *(sys.executable, "-m", "vllm.entrypoints.openai.run_batch"),
            *("-i", str(requests), "-o", str(responses), "--model", task["model"]),
            *_arguments(task["options"]),
        ],
        check=True,
    )
    answers = responses.read_bytes().count(b"\n")  # a text may hold other line ends
    assert answers == len(_chats(task))


def daft_prompt(task: dict[str, Any]) -> None:
    """`prompt` with the provider that buckets prompts by what they begin with; it takes text."""
    import daft
    from daft.functions import prompt
    from transformers import AutoTokenizer
    from vllm import SamplingParams

    tokenizer, chats = AutoTokenizer.from_pretrained(task["model"]), _chats(task)
    texts = [
        tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        for _, messages in chats
    ]
    sampling = SamplingParams(max_tokens=task["tokens"], ignore_eos=True, temperature=1.0)
    answers = prompt(
        daft.col("text"),
        provider="vllm-prefix-caching",
        model=task["model"],
        engine_args=task["options"],
        generate_args={"sampling_params": sampling},
    )
    frame = daft.from_pydict({"id": [record_id for record_id, _ in chats], "text": texts})
    folder = str(Path(task["folder"]) / "out")
    frame.with_column("answer", answers).write_parquet(folder)
    assert daft.read_parquet(folder).count_rows() == len(chats)


def datatrove_runner(task: dict[str, Any]) -> None:
    """`InferenceRunner`, which starts vLLM's server and posts to it.

    It takes the server for one of the user's own: for vLLM's it asks for a package of that name,
    which the CPU build does not have.
    """
    from datatrove.data import Document
    from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
    from datatrove.pipeline.writers import JsonlWriter

    folder, chats = Path(task["folder"]), _chats(task)
    script = folder / "server.py"
    script.write_text(f"if __name__ == '__main__':\n    import runpy\n    {_RUN_SERVER}\n")
    options = {name.replace("_", "-"): value for name, value in task["options"].items()}
    sampling = {"max_tokens": task["tokens"], "ignore_eos": True, "temperature": 1.0}
    config = InferenceConfig(
        server_type="custom",
        model_name_or_path=task["model"],
        model_kwargs={"server_script": str(script), "model": task["model"], **options},
        default_generation_params=sampling,
    )

    async def answer(document: Any, generate: Any) -> Any:
        return await generate({"messages": document.metadata["messages"]})

    writer = JsonlWriter(str(folder / "out"), compression=None)
    InferenceRunner(answer, config, writer).run(
        [Document(record_id, record_id, metadata={"messages": chat}) for record_id, chat in chats]
    )
    written = (file.read_bytes() for file in (folder / "out").iterdir())
    assert sum(lines.count(b"\n") for lines in written) == len(chats)


def saturate_pump(task: dict[str, Any]) -> None:
    """`pump` beside an `Engine`, which starts vLLM's server; its window adapts itself."""
    from saturate import Engine, pump

    from tests.support.jobs import free_port

    port = free_port()
    options = _arguments({"model": task["model"], "port": port, **task["options"]})
    rows = [(record_id, {"messages": messages}) for record_id, messages in _chats(task)]
    sampling = {"max_tokens": task["tokens"], "ignore_eos": True, "temperature": 1.0}
    with Engine(task["model"], port=port, cmd=[sys.executable, "-m", _SERVER, *options]) as url:
        stats = pump(
            rows,
            to_request=lambda row: {"model": task["model"], **row, **sampling},
            parse=lambda response: {"text": response["choices"][0]["message"]["content"]},
            endpoint=url,
            output=str(Path(task["folder"]) / "out"),
        )
    assert (stats.rows_processed, stats.rows_failed) == (len(rows), 0)


_SERVER = "vllm.entrypoints.openai.api_server"
_RUN_SERVER = f"runpy.run_module({_SERVER!r}, run_name='__main__', alter_sys=True)"


def _arguments(options: dict[str, Any]) -> list[str]:
    return [
        argument
        for name, value in options.items()
        for argument in _argument(name.replace("_", "-"), value)
    ]


def _argument(name: str, value: Any) -> list[str]:
    return [f"--{name}"] if value is True else [f"--{name}", str(value)]


def _chats(task: dict[str, Any]) -> list[tuple[str, list[dict[str, str]]]]:
    """Every record's id and messages, as the job's own template renders them."""
    with open(task["chats"], encoding="utf-8") as file:
        return [tuple(json.loads(line)) for line in file]


WAYS = {
    "overnight": overnight,
    "overnight, passages as given": overnight_as_given,
    "LLM.generate": offline_class,
    "LLM.generate, arranged": offline_class_arranged,
    "ray.data.llm": ray_data_llm,
    "vllm run-batch": run_batch,
    "daft": daft_prompt,
    "datatrove": datatrove_runner,
    "saturate": saturate_pump,
}

if __name__ == "__main__":
    WAYS[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text()))
