"""The section `checks` of a job file.

A key is the name of a check of ours, the path of a Python file that ends in `.py`, or the name of a
check that its value declares.
"""

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
)

from pipeline.config.sections import SECTION, yaml_off
from pipeline.core.records import ENGINE_ERROR, Level

CheckLevel = Annotated[Level, BeforeValidator(yaml_off)]

_NAME = re.compile(r"[\w-]{1,100}")


class Tuned(BaseModel):
    """A check with parameters: the keys beside `level`, which its test takes by name."""

    model_config = ConfigDict(extra="allow", frozen=True)

    level: CheckLevel | None = None  # None: the check's own

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Declared(BaseModel):
    """A check that the job file itself declares."""

    model_config = SECTION

    level: CheckLevel = "label"
    ask: str | None = Field(default=None, min_length=1)  # the next turn, if an answer fails


class PatternCheck(Declared):
    """A regular expression that is searched in the answer."""

    pattern: str = Field(min_length=1)
    must: Literal["match", "not_match"] = "match"


class ExpressionCheck(Declared):
    """An expression that is true of an answer that passes."""

    expression: str = Field(min_length=1)


DECLARED: Mapping[str, type[Declared]] = {
    "[pattern]": PatternCheck,
    "[expression]": ExpressionCheck,
}
"""What a mapping with this key declares, by the name in the place of a fault."""


def _kind(value: Any) -> str:
    if isinstance(value, Declared):
        return next(tag for tag, kind in DECLARED.items() if isinstance(value, kind))
    if isinstance(value, Mapping):
        return next((tag for tag in DECLARED if tag.strip("[]") in value), "[parameters]")
    return "[parameters]" if isinstance(value, Tuned) else "[level]"


CheckSetting = Annotated[
    Annotated[CheckLevel, Tag("[level]")]
    | Annotated[Tuned, Tag("[parameters]")]
    | Annotated[PatternCheck, Tag("[pattern]")]
    | Annotated[ExpressionCheck, Tag("[expression]")],
    Discriminator(_kind),
]

Settings: TypeAlias = Mapping[str, Level | Tuned | Declared]


def is_file(key: str) -> bool:
    return key.endswith(".py")


def check_name(key: str) -> str:
    """The name under which the store has a check: of a file, its stem."""
    return PurePath(key).stem if is_file(key) else key


def level_of(setting: Any) -> Level | None:
    """The level that a setting sets, as it is in a job or in a `run.json`."""
    if isinstance(setting, Mapping):
        setting = setting.get("level")
    level: Level | None = getattr(setting, "level", setting)
    return level


def names_in_use(settings: Mapping[str, Any]) -> set[str]:
    """The names in a section `checks`, of a job or of a `run.json`, that are not `off`."""
    return {check_name(key) for key, setting in settings.items() if level_of(setting) != "off"}


def _with_own_names(settings: dict[str, Any]) -> dict[str, Any]:
    """Refuses names that the store could not tell apart."""
    keys: dict[str, str] = {}
    for key in settings:
        name = check_name(key)
        if not _NAME.fullmatch(name):
            raise ValueError(f"{key}: a check's name has letters, digits, _ and - only")
        if name == ENGINE_ERROR:
            raise ValueError(f"{key}: the name {ENGINE_ERROR} is taken; choose another")
        if name in keys:
            raise ValueError(f"{keys[name]} and {key} have the same name, {name}; rename one")
        keys[name] = key
    return settings


Checks = Annotated[dict[str, CheckSetting], AfterValidator(_with_own_names)]
