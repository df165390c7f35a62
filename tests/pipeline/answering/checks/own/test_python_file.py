"""Checks in files of the user's: good ones, broken ones and hostile ones."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline.answering.checks import chosen_checks, digests_of, run_checks
from pipeline.answering.checks.own.python_file import module_of
from pipeline.core.errors import ConfigError
from pipeline.core.records import Ask, CheckResult
from tests.pipeline.answering.checks.own.looks import (
    BODY,
    CITES,
    HEAD,
    RUN,
    SUBJECT,
    copied,
    found,
    found_by,
    own_check,
    settings,
    write,
)
from tests.pipeline.answering.test_loop import GOOD, FakeEngine, answered_by


def test_a_file_is_a_check_under_its_stem_and_its_own_level():
    write(CITES, "conf/checks/cites.py")
    check = own_check({}, "conf/checks/cites.py")
    assert (check.name, check.level) == ("cites", "fail")
    result = found("label", key="conf/checks/cites.py")
    assert result == CheckResult("cites", False, "label", "10.1000/pond")
    named = replace(SUBJECT, answer="See 10.1000/pond.")
    assert found("fail", named, "conf/checks/cites.py").passed


def test_a_file_without_a_level_is_a_label_and_one_that_is_off_is_not_read():
    write(CITES.replace('LEVEL = "fail"', ""))
    assert own_check({}).level == "label"
    assert "nowhere" not in {c.name for c in chosen_checks(settings(**{"nowhere.py": "off"}))}


def test_a_check_sees_the_record_and_the_reasoning():
    names = "record_id paper_id question_id question passages extra messages reasoning words"
    result = found_by(
        "from pipeline.answering.checks import Finding\n"
        "def test(subject):\n"
        f"    seen = [getattr(subject, name) for name in {names.split()}]\n"
        "    return Finding(True, repr(seen[:4]) + seen[4][0].text + str(seen[5]['year']))\n"
    )
    assert result.evidence == (
        "['pond_Q1', 'pond', 'Q1', 'How many herons nested?']Eleven herons nested.2021"
    )


def test_a_check_travels_as_its_source_and_needs_no_file(here):
    write(CITES)
    check = own_check("fail")
    Path("cites.py").unlink()
    module_of.cache_clear()
    travelled = copied(check)
    (result,), (repair,) = run_checks((travelled,), SUBJECT)
    assert (result.evidence, repair) == ("10.1000/pond", Ask("Name 10.1000/pond."))


def test_a_source_is_run_once_in_a_process():
    module_of.cache_clear()
    write("import sys\nsys.ran = getattr(sys, 'ran', 0) + 1\n" + CITES)
    check = own_check("fail")
    for _ in range(5):
        run_checks((check, copied(check)), SUBJECT)
    assert sys.ran == 1
    del sys.ran


def test_the_digest_is_that_of_the_source_and_of_its_parameters():
    digests = set()
    for source, setting in ((CITES, "fail"), (CITES, "label"), (CITES + "#", "fail")):
        write(source)
        digests |= set(digests_of((own_check(setting),)).values())
    assert len(digests) == 2
    assert all(re.fullmatch("[0-9a-f]{16}", digest) for digest in digests)


def test_parameters_of_a_file_are_the_arguments_that_its_test_takes_by_name():
    source = (
        "from pipeline.answering.checks import Finding\n"
        "def test(subject, *, most: int, unit='words'):\n"
        "    return Finding(subject.word_count <= most, f'{most} {unit}')\n"
    )
    write(source)
    assert found({"level": "fail", "most": 3}).evidence == "3 words"
    for wrong, said in (
        ({"most": 3, "units": "x"}, r"checks.cites.py.units: no such parameter; .* 'unit'"),
        ({"most": "many"}, r"checks.cites.py.most: .* \(it is 'many'\)"),
        ({}, r"checks.cites.py.most: missing"),
    ):
        with pytest.raises(ConfigError, match=said):
            chosen_checks(settings(**{"cites.py": wrong}))


BROKEN = {
    "syntax": ("x = 1\ndef test(subject:\n", r"^cites.py:2: "),
    "indentation": ("def test(subject):\nreturn 1\n", r"^cites.py:2: "),
    "null byte": ("x = '\0'\n", r"^cites.py"),
    "a module that is not installed": (
        f"\nimport no_such_module_anywhere\n{RUN}{BODY}",
        r"^cites.py:2: ModuleNotFoundError: No module named 'no_such",
    ),
    "raises": (f"x = 1\nx['a']\n{RUN}{BODY}", r"^cites.py:2: TypeError"),
    "exits": (f"import sys\nsys.exit(0)\n{RUN}{BODY}", r"^cites.py:2: SystemExit"),
    "no test": (f"{HEAD}def tests(subject):\n{BODY}", r"^cites.py: no function test.* 'tests'"),
    "empty": ("", r"^cites.py: no function test"),
    "test is no function": ("test = 3\n", r"^cites.py: no function test"),
    "asynchronous": (f"{HEAD}async def test(subject):\n{BODY}", r"^cites.py:2: .* plain function"),
    "generator": (f"{HEAD}def test(subject):\n    yield 1\n", r"^cites.py:2: .* plain function"),
    "no subject": (f"{HEAD}def test():\n{BODY}", r"^cites.py:2: test takes one subject"),
    "two subjects": (f"{HEAD}def test(a, b):\n{BODY}", r"^cites.py:2: test takes one subject"),
    "level": (f"LEVEL = 'warn'\n{RUN}{BODY}", r"^cites.py: LEVEL is 'warn'"),
    "relative": (f"from . import helpers\n{RUN}{BODY}", r"^cites.py:1: a relative import"),
    "relative, inside": (f"{RUN}    from .helpers import x\n{BODY}", r"^cites.py:3: a relative"),
    "a file beside it": (f"\nimport helpers\n{RUN}{BODY}", r"^cites.py:2: helpers is a file of"),
    "a folder beside it": (f"{RUN}    import parts.one\n{BODY}", r"^cites.py:3: parts is a file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_stops_the_job_with_file_and_line(name):
    source, message = BROKEN[name]
    write("x = 1\n", "helpers.py")
    write("x = 1\n", "parts/__init__.py")
    write(source)
    with pytest.raises(ConfigError, match=message) as error:
        chosen_checks(settings(**{"cites.py": "fail"}))
    assert error.value.exit_code == 2
    assert len(str(error.value).splitlines()) <= 2


@pytest.mark.parametrize("name", ["missing.py", "folder.py", "latin.py"])
def test_a_file_that_cannot_be_read_stops_the_job(name):
    Path("folder.py").mkdir()
    Path("latin.py").write_bytes("# é\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=f"checks: {name}: the check cannot be read"):
        chosen_checks(settings(**{name: "fail"}))


def test_what_is_installed_may_be_imported():
    assert found_by(f"import json, regex, pyarrow.compute\n{RUN}{BODY}").passed


HOSTILE = {
    "raises": ("    subject.extra['no']\n", r"^cites.py:3: KeyError: 'no'"),
    "raises below": (
        "    return deep(subject)\ndef deep(s):\n    return 1 / 0\n",
        r"^cites.py:5: ZeroDivisionError: division by zero",
    ),
    "raises in a library": ("    import json; json.loads('{')\n", r"^cites.py:3: JSONDecodeError"),
    "raises without a text": (
        "    class E(Exception):\n        def __str__(self): raise self\n    raise E\n",
        r"^cites.py:5: E$",
    ),
    "recursion": ("    return test(subject)\n", r"^cites.py:3: RecursionError"),
    "exits": ("    import sys; sys.exit(1)\n", r"^cites.py:3: SystemExit"),
    "cancels": ("    import asyncio; raise asyncio.CancelledError\n", r"^cites.py:3: Cancelled"),
    "memory": ("    raise MemoryError('x' * 10**6)\n", r"^cites.py:3: MemoryError: x+…$"),
    "lines": ("    raise ValueError('a\\nb')\n", r"^cites.py:3: ValueError: a b$"),
    "changes the subject": ("    subject.answer = 'x'\n", r"^cites.py:3: FrozenInstanceError"),
    "None": ("    pass\n", r"^cites.py: test returned None, not a Finding"),
    "True": ("    return True\n", r"^cites.py: test returned a value of type bool"),
    "a tuple": ("    return (True, 'x', None)\n", r"returned a value of type tuple"),
    "no truth": ("    return Finding('yes', 'x')\n", r"whose passed is a value of type str"),
    "no evidence": ("    return Finding(True, None)\n", r"whose evidence is None"),
    "bytes": ("    return Finding(True, b'x')\n", r"whose evidence is a value of type bytes"),
    "repair": ("    return Finding(False, 'x', 'again')\n", r"whose repair is a value of type str"),
    "words": ("    return Finding(False, 'x', Ask(3))\n", r"whose repair is a value of type Ask"),
    "a list": ("    return Finding(False, 'x', [])\n", r"whose repair is a value of type list"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_fault_in_a_check_fails_that_check_alone_and_has_no_repair(name):
    source, evidence = HOSTILE[name]
    write(RUN + source)
    checks = chosen_checks(settings(**{"cites.py": "fail"}))
    results, repairs = run_checks(checks, SUBJECT)
    missed = [r for r in results if not r.passed and r.level == "fail"]
    assert [r.name for r in missed] == ["cites"]
    assert re.search(evidence, missed[0].evidence)
    assert len(missed[0].evidence) <= 200
    assert repairs == (None,)


@hypothesis_settings(deadline=None)
@given(st.text(max_size=400))
def test_evidence_is_one_short_line_that_the_store_takes(text):
    Path("said.py").write_text(
        f"{RUN}    return Finding(False, subject.answer + '\\ud800', Ask('\\udfff'))\n"
    )
    check = own_check("fail", "said.py")
    (result,), (repair,) = run_checks((check,), replace(SUBJECT, answer=text))
    assert len(result.evidence) <= 200
    assert "\n" not in result.evidence
    result.evidence.encode()
    assert repair == Ask("?")


def test_what_a_check_prints_is_not_on_stdout(capsys):
    assert found_by(f"print('loaded')\n{RUN}    print('tested')\n{BODY}").passed
    seen = capsys.readouterr()
    assert seen.out == ""
    assert {"loaded", "tested"} <= set(seen.err.split())


def test_a_check_that_changes_what_it_gets_changes_nothing_for_others():
    changes = (
        "    subject.extra.clear(); subject.words.clear()\n"
        "    object.__setattr__(subject, 'answer', '')\n"
    )
    write(RUN + changes + BODY, "first.py")
    write(
        f"{RUN}    subject.extra['tags'].append('x')\n"
        "    return Finding(bool(subject.answer and subject.words), str(subject.extra))\n",
        "second.py",
    )
    write(f"{RUN}    return Finding(True, str(subject.extra['tags']))\n", "third.py")
    checks = chosen_checks(settings(**dict.fromkeys(("first.py", "second.py", "third.py"), "fail")))
    results, _ = run_checks(checks, SUBJECT)
    by_name = {r.name: r for r in results}
    assert by_name["second"].passed
    assert "10.1000/pond" in by_name["second"].evidence
    assert by_name["third"].evidence == "['birds']"
    assert SUBJECT.extra["tags"] == ["birds"]


def test_an_answer_whose_check_raises_is_not_generated_again():
    write(f"{RUN}    raise ValueError('no')\n")
    engine = FakeEngine(GOOD, GOOD)
    answered = answered_by(engine, **settings(**{"cites.py": "fail"}))
    assert (answered.status, len(answered.attempts)) == ("failed", 1)
