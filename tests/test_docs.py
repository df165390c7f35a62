"""README, CONTRIBUTING and docs/ name what exists, and leave out nothing that a user can set."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.testing import CliRunner

from jobs.cli import app
from pipeline.answering.checks import known_checks
from pipeline.config.schema import Job
from pipeline.core.records import RejectReason
from pipeline.prompting.template import FIELDS
from tests.support.structure import FLOORS, MODULES, ROOT, rooms_of_pipeline

README, CONTRIBUTING, DOCS = ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "docs"
PAGES = [README, CONTRIBUTING, *sorted(DOCS.glob("*.md"))]
COMMENTED = [
    ROOT / "Makefile",
    *(p for folder in ("conf", "deploy") for p in sorted((ROOT / folder).rglob("*"))),
]

PATH = re.compile(r"(?<![\w/.-])(?:conf|deploy|docs|jobs|pipeline|tests|\.ci)/[\w./-]*\w")
LINK = re.compile(r'\]\(([^)\s]+)\)|(?:src|srcset)="([^"]+)"')
COMMANDS = typer.main.get_command(app).commands


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def spans(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@cache
def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def table_rows(page: Path) -> Iterator[list[str]]:
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def keys(section: type[BaseModel] = Job, prefix: str = "") -> dict[str, FieldInfo]:
    """Every key of the job file that holds a value, by its dotted name."""
    found: dict[str, FieldInfo] = {}
    for name, field in section.model_fields.items():
        may_be_left_out = get_args(field.annotation) if section is Job else ()
        inner = next(filter(is_section, may_be_left_out), field.annotation)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found |= keys(inner, f"{prefix}{name}.")
        else:
            found[prefix + (field.alias or name)] = field
    return found


def documented_keys() -> dict[str, str]:
    """The keys in the first columns of docs/job-file.md, with the cell that follows."""
    rows = table_rows(DOCS / "job-file.md")
    return {key: default for first, default, *_ in rows for key in spans(first)}


@pytest.mark.parametrize("page", [p for p in [*PAGES, *COMMENTED] if p.is_file()], ids=name_of)
def test_every_path_that_is_named_exists(page: Path):
    named = set(PATH.findall(page.read_text(encoding="utf-8", errors="replace")))
    assert {path for path in named if not (ROOT / path).exists()} == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_within_the_repository_leads_somewhere(page: Path):
    for link in ("".join(found) for found in LINK.findall(page.read_text(encoding="utf-8"))):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_readme_and_contributing_are_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 250
    assert len(CONTRIBUTING.read_text(encoding="utf-8").splitlines()) <= 100


def test_every_page_of_docs_is_linked_from_the_readme():
    text = README.read_text(encoding="utf-8") + CONTRIBUTING.read_text(encoding="utf-8")
    assert {p.name for p in DOCS.glob("*.md") if f"docs/{p.name}" not in text} == set()


def test_every_key_of_the_job_file_is_documented_and_no_other():
    documented = documented_keys()
    assert set(keys()) - set(documented) == set()
    sections = {key.rsplit(".", 1)[0] for key in keys()} | set(Job.model_fields)
    assert {key for key in documented if "." in key} - set(keys()) - sections == set()


def test_the_defaults_of_keys_are_those_documented():
    documented = documented_keys()
    for key, field in keys().items():
        default = field.get_default()
        if isinstance(default, (int, float, str)) and not key.startswith("input.text."):
            text = "4 MiB" if default == 4 * 2**20 else str(default).removesuffix(".0")
            assert documented[key].replace("`", "").lower().startswith(text.lower()), key


def test_every_check_is_documented_at_its_level():
    documented = documented_keys()
    assert {n: documented.get(n) for n in known_checks()} == {
        name: f"`{check.level}`" for name, check in known_checks().items()
    }


def test_every_command_is_in_the_readme_and_every_option_in_the_docs():
    readme = README.read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"| `overnight {name} " not in readme] == []
    text = (DOCS / "commands.md").read_text(encoding="utf-8")
    options = {
        option
        for command in COMMANDS.values()
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--") and option != "--help"
    }
    assert {option for option in options if option not in text} == set()


def test_reasons_of_rejects_and_names_in_templates_are_documented():
    named = {n for row in table_rows(DOCS / "records-and-prompts.md") for n in spans(row[0])}
    assert {*get_args(RejectReason), *FIELDS} - named == set()


def test_the_rooms_are_those_of_the_contributing_page():
    named = {n for row in table_rows(CONTRIBUTING) for n in spans(row[1])}
    assert {n.removesuffix(".py") for n in named} == set().union(*FLOORS)
    assert {n.removesuffix(".py") for n in named} == {*rooms_of_pipeline(), "jobs"}


def test_messages_quoted_for_operators_are_those_of_the_code():
    sources = [*MODULES, ROOT / "deploy/slurm/overnight.sbatch"]
    text = "".join(re.sub(r'"\s*f?"', "", p.read_text(encoding="utf-8")) for p in sources)
    quoted = [q for row in table_rows(DOCS / "cluster.md") for q in spans(row[0]) if " " in q]
    pieces = {piece.strip() for q in quoted for piece in re.split(r"…|\d|s3://", q)}
    assert len(pieces) > 10
    assert {p for p in pieces if len(p) > 2 and p not in text} == set()


def test_the_glossary_has_at_most_twenty_words_in_order():
    words = [row[0] for row in table_rows(DOCS / "glossary.md")][1:]
    assert len(words) <= 20
    assert words == sorted(words)


def test_the_five_minutes_of_the_readme_plan_as_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    blocks = re.findall(
        r"^```(\w+)\n(.+?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    by_language = dict(reversed(blocks))  # the first of each
    (tmp_path / "mine").mkdir()
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "mine/papers.jsonl").write_text(by_language["json"], encoding="utf-8")
    (tmp_path / "mine/job.yaml").write_text(by_language["yaml"], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    done = CliRunner().invoke(app, ["plan", "mine/job.yaml", "--json"])
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    assert (plan["work"], plan["rejected"]) == (3, 0)
