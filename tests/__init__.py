"""Tests; nothing in them looks for a model on the hub."""

import os

# Before anything imports the hub's client, which reads it then.
os.environ["HF_HUB_OFFLINE"] = "1"
