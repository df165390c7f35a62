from pathlib import Path

import pytest

from pipeline.config.schema import Answer, TextGrammar
from pipeline.core.errors import ConfigError
from pipeline.core.records import Fault, Message, Passage, Place
from pipeline.prompting.template import load_prompt, render
from pipeline.reading.text import text_record
from tests.support.jobs import BETTER_PROMPT, ROOT, record

FRONT = "---\nname: trial\nversion: 3\n---\n"
PUBLISHED_FORMAT = str(ROOT / "conf/prompts/context-first.md")


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "trial.md"
    path.write_text(text)
    return str(path)


def rendered(template: str, rec=None, max_words: int = 399) -> str:
    messages, _ = render(load_prompt(template, Answer(max_words=max_words)), rec or record())
    return messages[-1].content


def test_a_template_renders_the_fields_of_a_record(tmp_path):
    path = write(tmp_path, FRONT + "{{ question }} {{ passages[0].text }} {{ extra.year }}")
    assert rendered(path, record(question="Q?", passages=(Passage("P."),), extra={"year": 7})) == (
        "Q? P. 7"
    )


def test_the_word_limit_in_a_prompt_is_the_limit_of_the_check(tmp_path):
    assert "At most 120 words" in rendered(BETTER_PROMPT, max_words=120)
    assert "less than 121 words" in rendered(PUBLISHED_FORMAT, max_words=120)


def test_the_better_prompt_gives_instructions_then_numbered_passages_then_the_question():
    messages, _ = render(load_prompt(BETTER_PROMPT, Answer()), record())
    text = messages[1].content
    assert [m.role for m in messages] == ["system", "user"]
    assert text.index("At most") < text.index("[1, p. 2]") < text.index("[2, p. 3]")
    assert text.rstrip().endswith(record().question)


def test_the_template_for_the_published_format_is_read_back_by_its_grammar():
    rec = record(passages=(Passage("One passage.\n\nOf two paragraphs."), Passage("Another.")))
    text = rendered(PUBLISHED_FORMAT, rec) + " the answer"
    parsed = text_record(text.encode(), Place("file:///x_CQ1.txt", 0), TextGrammar())
    assert parsed.question == rec.question
    assert parsed.passages == (Passage("One passage.\n\nOf two paragraphs.\n\nAnother."),)
    assert parsed.recorded_answer == " the answer"


def test_verbatim_is_the_records_own_text():
    own = (Message("user", "Just this."),)
    assert render(load_prompt("verbatim", Answer()), record(messages=own))[0] == own


def test_verbatim_without_a_text_of_its_own_is_the_records_fault():
    with pytest.raises(Fault) as caught:
        render(load_prompt("verbatim", Answer()), record())
    assert caught.value.reason == "missing_field"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            FRONT + "Hello\n{{ qestion }}\n",
            ":6: no field 'qestion' in a record; did you mean 'question'?",
        ),
        (FRONT + "\n\n{% for p in passages %}\n", ":7: Unexpected end of template"),
        (FRONT + "{{ question | nofilter }}", ":5: No filter named 'nofilter'"),
        (
            FRONT + "\n{{ passages[0].txt }}\n",
            ":6: 'pipeline.core.records.Passage object' has no attribute",
        ),
        (FRONT + "{% include 'x' %}", ":5: a prompt is one file"),
        (FRONT, "no message below the front matter"),
        ("{{ question }}", ":1: a template begins with front matter"),
        ("---\nname: a\n---\nx", "front matter: version is missing"),
        ("---\nname: a\nversion: 1\nsytem: x\n---\nx", "sytem; did you mean 'system'?"),
        ("---\nname: [\n---\nx", "front matter"),
        (FRONT + "{{ ''.__class__.__mro__ }}{{ question.__class__.__mro__[1] }}", "unsafe"),
        (
            FRONT + "\n{{ question.upper }}",
            ":6: 'upper' is no field of text, but a method: upper()",
        ),
        (FRONT + "\n{{ passages[0].count }}", ":6: 'count' is no field"),
        (
            FRONT + "\n{{ extra.tags | map('upper') }}",
            ":6: map gives an iterator, which has no text",
        ),
        (FRONT + "\n{{ passages | map('first') ~ '' }}", ":6: an iterator has no text; add | list"),
        (FRONT + "\n{{ extra.tags | random }}", ":6: random gives another prompt every time"),
        (FRONT + "\n{{ lipsum() }}", ":6: lipsum gives another prompt every time"),
        (FRONT + "\n{{ range(3) }}", ":6: a value of type range has no text; add | list"),
        (FRONT + "\n" + r"{{ '\ud800' }}", "surrogates not allowed"),
        ('---\nname: a\nversion: 1\nsystem: "{{ qestion }}"\n---\nx', ":4: no field 'qestion'"),
        ("---\nname: a\nversion: 1\nsystem: |\n  One.\n  {{ range }}\n---\nx", ":6: 'range' is a"),
        ("---\nname: a\nversion: [1, 2]\n---\nx", ":3: front matter: version must be text"),
        ("---\nname: a\nversion: ~\n---\nx", "front matter: version is missing"),
    ],
)
def test_a_faulty_template_stops_the_job_and_names_file_and_line(tmp_path, text, message):
    with pytest.raises(ConfigError) as caught:
        load_prompt(write(tmp_path, text), Answer())
    assert message in str(caught.value)
    assert "trial.md" in str(caught.value)


def test_a_missing_template_stops_the_job(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_prompt(str(tmp_path / "none.md"), Answer())


def test_a_column_that_one_record_lacks_is_that_records_reject(tmp_path):
    source = load_prompt(write(tmp_path, FRONT + "Line\n{{ extra.year }}"), Answer())
    with pytest.raises(Fault) as caught:
        render(source, record())
    assert caught.value.reason == "missing_field"
    assert "trial.md:6" in caught.value.detail


def test_template_code_in_a_passage_is_only_text():
    hostile = record(passages=(Passage("{{ question }} {% for %} {{ ''.__class__ }}"),))
    assert "{{ question }} {% for %} {{ ''.__class__ }}" in rendered(BETTER_PROMPT, hostile)


def test_the_boilerplate_is_the_templates_text_without_the_records():
    _, boilerplate = render(load_prompt(BETTER_PROMPT, Answer()), record())
    assert "Keep their numbers" in boilerplate
    assert "herons" not in boilerplate


@pytest.mark.parametrize(
    "written",
    ["1.10", "010", "on", "1e3", "2024-01-01", "0", "12:30", "0x1F", "1_000", "no", "=", ".5"],
)
def test_front_matter_is_text_as_it_stands_there(tmp_path, written):
    path = write(tmp_path, f"---\nname: {written}\nversion: {written}  # why\n---\nx")
    source = load_prompt(path, Answer())
    assert (source.name, source.version) == (written, written)


def test_a_system_message_that_is_null_is_none(tmp_path):
    for null in ("", "~", "null"):
        path = write(tmp_path, f"---\nname: a\nversion: 1\nsystem: {null}\n---\nx")
        assert load_prompt(path, Answer()).system == ""


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_byte_order_marks_and_line_ends_do_not_change_a_prompt(tmp_path, mark, end):
    path = tmp_path / "trial.md"
    path.write_bytes(mark + (FRONT + "One\n{{ question }}").encode().replace(b"\n", end))
    assert rendered(str(path), record(question="Q?")) == "One\nQ?"


def test_a_column_with_the_name_of_a_method_is_printed(tmp_path):
    path = write(tmp_path, FRONT + "{{ extra.items }} {{ extra.meta.keys }}")
    assert rendered(path, record(extra={"items": ["bell"], "meta": {"keys": 3}})) == "['bell'] 3"


def test_a_record_whose_columns_have_no_text_is_rejected_with_file_and_line(tmp_path):
    source = load_prompt(write(tmp_path, FRONT + "Line\n{{ extra.note | reverse }}"), Answer())
    assert render(source, record(extra={"note": "bell"}))[0][0].content == "Line\nlleb"
    with pytest.raises(Fault) as caught:
        render(source, record(extra={"note": ["bell"]}))
    assert caught.value.reason == "wrong_type"
    assert "trial.md:6: an iterator has no text" in caught.value.detail


def test_a_method_in_place_of_a_missing_column_is_a_missing_field(tmp_path):
    source = load_prompt(write(tmp_path, FRONT + "{{ extra.items }}"), Answer())
    with pytest.raises(Fault) as caught:
        render(source, record(extra={"year": 7}))
    assert caught.value.reason == "missing_field"
    assert "trial.md:5: 'items' is no field of an object" in caught.value.detail
