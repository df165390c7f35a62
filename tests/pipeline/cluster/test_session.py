"""When a run waits for the places of its replicas before it reads."""

import pytest
from ray.data import DataContext

from pipeline.cluster import session
from pipeline.config.schema import EngineConfig

ROOM, NONE = {"CPU": 4, "memory": 4 * 2**30}, {"CPU": 4, "memory": 2**29}


@pytest.mark.parametrize(
    ("node", "is_shared", "engine", "waits"),
    [
        (ROOM, False, {}, False),
        (ROOM, True, {}, True),  # others may have taken the places
        (NONE, False, {}, True),
        (ROOM, False, {"replicas": 5}, True),
        (ROOM, False, {"accelerator_type": "SCARCE"}, True),
    ],
)
def test_reading_waits_for_places_that_may_be_missing(node, is_shared, engine, waits, monkeypatch):
    monkeypatch.setattr(session, "_nodes", lambda: [(node, 1)])
    session._configure(EngineConfig(start_seconds=7, **engine), is_shared, debug=False)
    assert DataContext.get_current().wait_for_min_actors_s == (7 if waits else -1)
