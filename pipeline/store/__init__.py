"""The output folder: its columns, its parts, and what it says has been done already."""

from pipeline.store.dataset import read_answers

__all__ = ["read_answers"]
