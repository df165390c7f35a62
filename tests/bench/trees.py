"""A longer search for the tree of passages that saves most, to hold the fast one against."""

from pipeline.prompting import passage_order as tree
from pipeline.prompting.passage_order import Bundles, Members

TRIED = 8

_greedy = tree._saved


def looked_further(members: Members, bundles: Bundles) -> int:
    """What a tree saves whose every branch was chosen with a look at the end of all that follow.

    In the place of the greedy estimate, the search looks one choice further than the pipeline's.
    """
    saved = 0
    while shared := tree._among(members, bundles):
        promising = sorted(shared, key=lambda b: (tree._saves(b, shared[b]), b), reverse=True)
        branch = max(promising[:TRIED], key=lambda b: _ends_with(members, shared, b))
        trunk, off = tree._parted(branch, shared)
        saved += tree._saves(branch, trunk) + looked_further(branch, off)
        members &= ~branch
        bundles = shared
    return saved


def _ends_with(members: Members, shared: Bundles, branch: Members) -> int:
    trunk, off = tree._parted(branch, shared)
    return tree._saves(branch, trunk) + _greedy(branch, off) + _greedy(members & ~branch, shared)
