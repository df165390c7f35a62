"""Learns whether an answer answers, from people's judgements, and measures how well.

python -m tests.bench.answered                      # figures, from the published corpus
python -m tests.bench.answered --write              # and the weights of the package
python -m tests.bench.answered --store URI [--write]  # from the corrections of a store
"""
