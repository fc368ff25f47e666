"""The gateway in front of two real vLLMs: check.py [WORD...] runs the checks that have one of these words in their names."""

import os
import signal
import sys
import tempfile

import bench
import cuts
import leaving
import sdk
import states
from suite import CHECKS, run, title

# A start takes a minute: those that cost no engine come first, and those that need another one last.
ORDER = [sdk, leaving, cuts, bench, states]


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the engines are ended
    words = sys.argv[1:]
    chosen = [check for module in ORDER for check in CHECKS if check.__module__ == module.__name__]
    chosen = [check for check in chosen if not words or any(word.lower() in title(check).lower() for word in words)]
    if not chosen:
        sys.exit("no such check; there are:\n  " + "\n  ".join(title(check) for check in CHECKS))
    log = os.path.join(os.environ["ENGINE_TOOLS"], "log")
    os.makedirs(log, exist_ok=True)
    sys.exit(run(tempfile.mkdtemp(prefix="run-", dir=log), chosen) > 0)


main()
