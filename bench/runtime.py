"""As much of Lambda's Python runtime as a decision needs: start, import the handler, ask it, in a fresh process.

Run with `-S`, so that nothing but the standard library, the artifact and the AWS SDK can be imported. Reads the
task as JSON from its one argument; writes what it measured to the file that the task names.
"""

import decimal  # noqa: F401  # with the next ones, what AWS's own runtime has imported before the handler
import importlib
import json
import logging  # noqa: F401
import os
import sys
import time
import traceback  # noqa: F401
import warnings  # noqa: F401

#: So few decisions at a time that most batches are cut short by nothing else on the machine; their median counts.
BATCH = 10


def decide(handler, event):
    """Return what the runtime would write out."""
    try:
        return handler(event, None)
    except Exception as error:
        return {"errorMessage": str(error)}


def ask(handler, event):
    """Return the answer's text, or the error's message, as the runtime would send it."""
    return json.dumps(decide(handler, json.loads(event)))


def peak_kib():
    """Return the most memory that this process has held. `ru_maxrss` would count its parent's before `exec` too."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def main(task):
    sys.path[:0] = [task["artifact"]]
    sys.path.append(task["sdk"])
    before = set(sys.modules)
    module, _, name = os.environ["_HANDLER"].rpartition(".")
    handler = getattr(importlib.import_module(module), name)
    initialised = time.monotonic()
    first = ask(handler, task["first"])
    answered = time.monotonic()
    cpu = time.process_time()
    peak = peak_kib()
    modules = sorted(set(sys.modules) - before)
    warm = {}
    for outcome, event in task["events"].items():
        answers = [ask(handler, event) for _ in range(task["times"] // 10 + 1)]
        batches = []
        for _ in range(task["times"] // BATCH):
            since = time.perf_counter()
            for _ in range(BATCH):
                answers.append(ask(handler, event))
            batches.append((time.perf_counter() - since) / BATCH)
        batches.sort()
        handled = []
        decoded = json.loads(event)
        for _ in range(task["times"] // BATCH):
            since = time.perf_counter()
            for _ in range(BATCH):
                decide(handler, decoded)
            handled.append((time.perf_counter() - since) / BATCH)
        handled.sort()
        middle = len(batches) // 2
        times = {"us": batches[middle] * 1e6, "handler_us": handled[middle] * 1e6}
        warm[outcome] = {**times, "answers": sorted(set(answers))}
    measured = {
        "initialised": initialised,
        "answered": answered,
        "first": first,
        "warm": warm,
        "modules": modules,
        "cpu": cpu,
        "peak_kib": peak,
    }
    with open(task["to"], "w") as file:
        json.dump(measured, file)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
