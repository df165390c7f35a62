"""What the data flows through: shards to records, prompts, answers and Parquet parts.

`flow.py` holds the whole job on one screen; the folders are its rooms, in the order in which
the data visits them.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("overnight")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"
