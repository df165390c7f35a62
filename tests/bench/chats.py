"""Records as the chats that every way is given, and in the order in which Overnight shares most."""

from collections.abc import Iterable, Iterator

from pipeline.config.schema import Answer
from pipeline.core.records import Prompt, Record
from pipeline.prompting.passage_order import arranged
from pipeline.prompting.template import load_prompt, render
from tests.support.jobs import BETTER_PROMPT


def chats_of(records: Iterable[Record]) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Every record's id and messages, with its passages as given."""
    source = load_prompt(BETTER_PROMPT, Answer())
    for record in records:
        messages, _ = render(source, record)
        yield record.record_id, [message._asdict() for message in messages]


def shared_first(records: Iterable[Record]) -> list[Record]:
    """The records of whole papers, and their passages, in the order that Overnight gives them."""
    source = load_prompt(BETTER_PROMPT, Answer())
    prompts = [
        Prompt(record, render(source, record)[0], "", "", str(number))
        for number, record in enumerate(records)
    ]
    return [prompt.record for prompt in arranged(prompts, source)]
