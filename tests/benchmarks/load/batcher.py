"""Requests of like length, together: what a careful user builds around an
engine that pads.

Each worker thread takes the request that has waited longest and those nearest
to it in length, up to `most` and as long as padding stays below `waste` of the
batch. It never waits for more to come: on a CPU that costs latency and gains
nothing while requests queue anyway.
"""

import collections
import threading


class Batcher:
    """run(worker, items) -> answers; deliver(tickets, answers) is called on
    the worker's thread. Items have a length."""

    def __init__(self, workers, run, deliver, most=1, waste=0.0):
        self.most, self.waste = most, waste
        self.run, self.deliver = run, deliver
        self.waiting = collections.deque()
        self.changed = threading.Condition()
        for worker in workers:
            threading.Thread(
                target=self._work, args=(worker,), daemon=True
            ).start()

    def __len__(self):
        return len(self.waiting)

    def put(self, item, ticket) -> None:
        with self.changed:
            self.waiting.append((item, ticket))
            self.changed.notify()

    def _work(self, worker):
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.waiting)
                batch = self._take()
            try:
                answers = self.run(worker, [item for item, _ in batch])
            except Exception as error:  # the caller's to see
                answers = [error] * len(batch)
            self.deliver([ticket for _, ticket in batch], answers)

    def _take(self) -> list:
        batch = [self.waiting.popleft()]
        longest, tokens = len(batch[0][0]), len(batch[0][0])
        by_distance = sorted(
            self.waiting, key=lambda entry: abs(len(entry[0]) - longest)
        )
        for entry in by_distance:
            length = max(longest, len(entry[0]))
            padded = length * (len(batch) + 1)
            padding = padded - tokens - len(entry[0])
            if len(batch) == self.most or padding > self.waste * padded:
                break
            batch.append(entry)
            longest, tokens = length, tokens + len(entry[0])
        taken = {id(entry) for entry in batch}
        self.waiting = collections.deque(
            entry for entry in self.waiting if id(entry) not in taken
        )
        return batch
