"""A pull that kills itself: `python -m tests.frontend.models.killed STORE URL N`.

It dies of SIGKILL at the N-th thing that it does to files of the store, or prints how many it did.
"""

import os
import signal
import sys
from pathlib import Path

from frontend.models.catalogue import UrlSource
from frontend.models.reporter import Silent
from frontend.models.resolve import Preparer
from frontend.models.store import Store
from tests.frontend.models.tiny import convert, entry

_WATCHED = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "shutil.rmtree"}


def main(root: Path, url: str, fatal: int) -> None:
    done = 0

    def on_event(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal done
        if event in _WATCHED and isinstance(arguments[0], str | Path) and str(root) in str(arguments[0]):
            done += 1
            if done == fatal:
                os.kill(os.getpid(), signal.SIGKILL)

    store = Store(root, Silent(), convert)
    preparer = Preparer(store, Silent(), {"tiny": entry(UrlSource(url))})
    sys.addaudithook(on_event)
    preparer.pull("tiny")
    print(done)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
