"""Columns that folders give to all records below them, as Hive, Spark and DuckDB write them."""

from urllib.parse import unquote

_NULL = "__HIVE_DEFAULT_PARTITION__"


def folders_above(path: str, uri: str) -> int:
    """How many folders stand above those that the user has written in the URI for this path."""
    written = [part for part in uri.rpartition("://")[2].split("/") if part]
    return max(len([part for part in path.split("/") if part]) - len(written), 0)


def folder_columns(path: str, above: int) -> dict[str, str | None]:
    """The columns in a file's path, below so many folders, as text: `year=2024/` gives `year`.

    Percent-escapes are decoded; the lowest folder of a name counts.
    """
    if "=" not in path:
        return {}
    *folders, _ = [part for part in path.split("/") if part]
    pairs = (folder.partition("=") for folder in folders[above:])
    named = {unquote(name): unquote(value) for name, equals, value in pairs if name and equals}
    return {name: None if value == _NULL else value for name, value in named.items()}
