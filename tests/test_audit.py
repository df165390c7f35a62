"""What `make audit` makes of pip-audit's report."""

from tests.support.audit import verdict

SOUND = {"name": "attrs", "version": "26.1.0", "vulns": []}
UNKNOWN = {"name": "ray", "skip_reason": "not found"}
WRONG = {
    "name": "jinja2",
    "version": "3.1.2",
    "vulns": [{"id": "PYSEC-2024-1", "fix_versions": ["3.1.3"]}],
}


def test_a_vulnerability_fails_the_lint_and_names_the_fixed_version():
    code, message = verdict([SOUND, WRONG])
    assert code == 1
    assert message.splitlines() == [
        "jinja2 3.1.2: PYSEC-2024-1, fixed in 3.1.3",
        "2 of 2 pins audited",
    ]


def test_pins_that_could_not_be_looked_up_are_counted():
    code, message = verdict([SOUND, UNKNOWN])
    assert (code, message) == (
        0,
        "1 of 2 pins audited; no advisories are available here for the other 1",
    )
