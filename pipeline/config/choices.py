"""The choices of an answer: in which form they are compared, and what is wrong with a list."""

_AROUND = " \t\n\"'“”‘’`*_.,;:!()[]"
"""Signs that a model writes around a choice."""


def form_of(text: str) -> str:
    """A text in the form in which choices are compared."""
    return text.strip(_AROUND).casefold()


def checked_choices(choices: list[str]) -> list[str]:
    """Raises `ValueError` for choices that cannot be told from each other in a text."""
    forms = [form_of(choice) for choice in choices]
    if len(choices) == 1:
        raise ValueError("a choice needs two choices or more")
    for choice, form in zip(choices, forms, strict=True):
        if not any(map(str.isalnum, form)) or "\n" in choice or choice != choice.strip():
            raise ValueError(f"{choice!r}: a choice is a few words on one line")
        if forms.count(form) > 1:
            raise ValueError(f"{choice!r} is like another choice but for case and signs")
    return choices
