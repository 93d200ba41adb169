"""A steady load: requests that start at a rate, whether or not earlier ones were answered."""

import collections
import concurrent.futures
import threading
import time

from . import standalone

# Requests that hang hold a thread until their timeout.
THREADS = 400
# A request that takes longer hangs.
SECONDS_MAX = 10


class Load:
    """Requests to `entry`, `rate` a second, until the end of the block."""

    def __init__(self, entry, rate):
        self.entry, self.rate = entry, rate
        self.over, self.lock, self.ended = threading.Event(), threading.Lock(), []
        self.threads = concurrent.futures.ThreadPoolExecutor(THREADS)
        self.clock = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.clock.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.clock.join()
        self.threads.shutdown()

    def since(self, began, until):
        """How many requests that started within these moments have ended, and how many of those failed."""
        with self.lock:
            ended = [status for started, status in self.ended if began <= started <= until]
        return len(ended), sum(status != 200 for status in ended)

    def settled(self, began, until):
        """As [`since`], once all that started by then have ended."""
        time.sleep(max(0, until - time.monotonic()) + SECONDS_MAX + 1)
        return self.since(began, until)

    def failures(self, began):
        """Failures of requests that started since then, by their statuses."""
        with self.lock:
            failed = [str(status) for started, status in self.ended if status != 200 and started >= began]
        return str(dict(collections.Counter(failed)))

    def _run(self):
        began, count = time.monotonic(), 0
        while not self.over.is_set():
            time.sleep(max(0, began + count / self.rate - time.monotonic()))
            self.threads.submit(self._one)
            count += 1

    def _one(self):
        started = time.monotonic()
        [status] = standalone.ask(1, entry=self.entry)
        with self.lock:
            self.ended.append((started, status))
