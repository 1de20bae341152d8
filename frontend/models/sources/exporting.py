"""`python -P -m frontend.models.sources.exporting ARGUMENTS`: optimum-cli, which ends when stdin does.

Otherwise an export would go on for minutes, with gigabytes of memory, after what started it was killed.
"""

import os
import runpy
import sys
import threading

_CLI = "optimum.commands.optimum_cli"
_ORPHANED = 1


def _end_with_stdin() -> None:
    while os.read(0, 1):
        pass
    os._exit(_ORPHANED)


if __name__ == "__main__":
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    sys.argv[0] = "optimum-cli"
    runpy.run_module(_CLI, run_name="__main__", alter_sys=False)
