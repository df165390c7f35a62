"""The store, a job's output folder: its columns and parts, and what is done already."""

from pipeline.store.dataset import read_answers

__all__ = ["read_answers"]
