# %% [markdown]
# # Overnight from Python
#
# A notebook as a script: editors and Jupytext know its cells. It answers three records with the
# engine that needs no model, in a folder of its own.

# %%
import json
import tempfile
from pathlib import Path

from pipeline import preview, read_answers, run

folder = Path(tempfile.mkdtemp())
rows = [
    {"doi": "10.5555/kelp.21", "query": "Was a drone used?", "contexts": ["A drone was used."]},
    {"doi": "10.5555/kelp.21", "query": "Was a ship used?", "contexts": ["A ship was used."]},
    {"doi": "10.5555/hives.22", "query": "Was a drone used?", "contexts": ["Nothing flew."]},
]
(folder / "papers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

# %% [markdown]
# A job is a mapping with the keys of a job file, or the path of one.

# %%
job = {
    "name": "python",
    "input": {
        "uri": str(folder / "papers.jsonl"),
        "fields": {"paper_id": "doi", "question": "query", "passages": "contexts"},
    },
    "prompt": "conf/prompts/instructions-first.md",
    "output": {"uri": str(folder / "store"), "carry": ["doi"]},
}

# %% [markdown]
# `preview` answers a few records in this process and stores nothing.

# %%
for record in preview(job, limit=2)["records"]:
    print(record["question"], "→", record["answer"])

# %% [markdown]
# `run` does the whole job. Keywords replace what the job says, here a part of `answer`.

# %%
result = run(job, answer={"max_words": 30})
print(result.status, dict(result.counts))

# %% [markdown]
# The answers are an Arrow dataset; `.to_table().to_pandas()` makes a frame of it.

# %%
table = result.answers().to_table(columns=["paper_id", "question", "answer", "extra"])
print(table.num_rows, "answers:", table.to_pylist())

# %% [markdown]
# Any program may read the store later.

# %%
print(read_answers(str(folder / "store")).count_rows(), "answers in the store")
