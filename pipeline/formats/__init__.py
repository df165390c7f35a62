"""Answer formats: what an answer looks like, one file a format.

Everything that depends on it asks the format: what a prompt says of it, what a decoder enforces,
how the answer is extracted, and what the check `format` finds.
"""

from pipeline.config.schema import Answer
from pipeline.formats.base import AnswerFormat


def format_of(answer: Answer) -> AnswerFormat:
    """The format that a job asks for."""
    from pipeline.formats.choice import Choice
    from pipeline.formats.document import Document
    from pipeline.formats.frame import Frame, Unframed

    if answer.choices:
        return Choice(tuple(answer.choices))
    if answer.schema_ is not None:
        return Document(answer.schema_, answer.max_words)
    if not answer.frame.begin:
        return Unframed(answer.max_words)
    return Frame(answer.frame.begin, answer.frame.end, answer.max_words)
