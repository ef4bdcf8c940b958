"""prometheus_client's multiprocess mode after many processes have come and gone.

A program of its own, started with `PROMETHEUS_MULTIPROC_DIR` set, because the library
reads that once.  Forks one process after the other; each makes 402 values as one job of an agent
would: 40 counters, 24 histogram series of 14 buckets, 2 gauges.  Then serves the page
with the library's own server and prints its address; ends with standard input.
"""

import os
import sys
import traceback

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import start_http_server
from prometheus_client.multiprocess import MultiProcessCollector

_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.65, 0.8, 1, 1.5, 2, 3, 5, 10)


def touch() -> None:
    """Act as one job: create and increment every series once."""
    registry = CollectorRegistry()
    for family in range(8):
        counter = Counter(f"job_{family}", "A counter.", ["model"], registry=registry)
        for model in range(5):
            counter.labels(f"model-{model}").inc()
    for family in range(8):
        histogram = Histogram(
            f"job_{family}_seconds", "A wait.", ["model"], buckets=_BUCKETS, registry=registry
        )
        for model in range(3):
            histogram.labels(f"model-{model}").observe(0.4)
    for family in range(2):
        gauge = Gauge(
            f"job_{family}_now", "A gauge.", registry=registry, multiprocess_mode="livesum"
        )
        gauge.set(1)


def main() -> None:
    """Fork, wait, serve."""
    for _ in range(int(sys.argv[1])):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                touch()
                status = 0
            except Exception:  # noqa: BLE001 - a forked child must not run its parent's code
                traceback.print_exc()
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        if status:
            sys.exit("a process that makes series failed")
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    server, _ = start_http_server(0, "127.0.0.1", registry)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
