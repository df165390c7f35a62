"""Found by every process of a test session's clusters: lets a test have one of them exit.

No signal does what `os._exit` does; so a process that finds a file named by its own id exits.
"""

import os
import sys
import time
from pathlib import Path
from threading import Thread

FOLDER = "OVERNIGHT_TEST_EXIT"


def _exit_when_told(word: Path) -> None:
    while not word.exists():
        time.sleep(0.05)
    os._exit(13)


if FOLDER in os.environ and any("default_worker.py" in argument for argument in sys.orig_argv):
    word = Path(os.environ[FOLDER]) / str(os.getpid())
    Thread(target=_exit_when_told, args=(word,), daemon=True).start()
