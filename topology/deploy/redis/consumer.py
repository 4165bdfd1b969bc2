#!/usr/bin/env python3
"""A consumer of Downpour's events, as an example: needs redis-py (pip install redis).

    consumer.py --group billing --name billing-1 [--url redis://127.0.0.1:6379/0]

Prints each event once. What matters in it:

* An event comes at least once. Its `id` says whether it was seen: here in a key of the same Redis,
  better in the transaction that does the work.
* An event whose work failed is not acknowledged. It is claimed again after
  min(60 s, 1 s x 2^(deliveries-1)), which is XAUTOCLAIM's min-idle; after its last delivery (3 unless
  Downpour is told otherwise) it goes to the stream downpour:dead, with the reason that is left here.
  `downpour outbox list` shows it, `downpour outbox replay` brings it back under the same id.
* What is acknowledged by every group is trimmed. A group that is not used any more has to be
  destroyed (XGROUP DESTROY downpour:events GROUP), or the stream fills up.
"""

import argparse
import json
import os
import signal
import sys

import redis

STREAM, REASONS = "downpour:events", "downpour:reasons"
# As Downpour is told by DOWNPOUR_EVENT_BACKOFF and DOWNPOUR_EVENT_DELIVERIES.
FIRST_MS = int(os.environ.get("FIRST_MS", 1_000))
LONGEST_MS = int(os.environ.get("LONGEST_MS", 60_000))
DELIVERIES = int(os.environ.get("DELIVERIES", 3))
REMEMBERED_SECONDS = 7 * 24 * 3600


def work(event):
    """Yours. Whatever it raises is the reason that operators read."""
    if event["type"] == os.environ.get("FAIL_TYPE"):
        raise ValueError(f"no use for {event['type']}")
    print(event["id"], event["type"], event["subject"], flush=True)


def idle_ms(deliveries):
    return min(LONGEST_MS, FIRST_MS * 2 ** (deliveries - 1))


class Consumer:
    def __init__(self, client, group, name):
        self.client, self.group, self.name = client, group, name
        self.join()

    def join(self):
        try:
            self.client.xgroup_create(STREAM, self.group, id="0", mkstream=True)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def take(self, entry, fields):
        if not fields:  # Trimmed or deleted meanwhile.
            self.client.xack(STREAM, self.group, entry)
            return
        seen = f"seen:{self.group}:{fields['id']}"
        try:
            if not self.client.exists(seen):
                work(json.loads(fields["event"]))
                self.client.set(seen, 1, ex=REMEMBERED_SECONDS)
        except Exception as error:  # Not acknowledged: it comes again, or is a dead letter.
            self.client.hset(REASONS, f"{self.group}:{fields['id']}", f"{error}"[:500])
            return
        self.client.xack(STREAM, self.group, entry)
        self.client.hdel(REASONS, f"{self.group}:{fields['id']}")

    def retry(self):
        """Claims what has waited long enough: the more often it was tried, the longer."""
        pending = self.client.xpending_range(STREAM, self.group, "-", "+", 100, idle=FIRST_MS)
        tried = [one["times_delivered"] for one in pending]
        # What has had its last delivery is left for Downpour to bury.
        tried = [count for count in tried if count < DELIVERIES]
        if tried:
            claimed = self.client.xautoclaim(
                STREAM, self.group, self.name, idle_ms(max(tried)), count=32)[1]
            for entry, fields in claimed:
                self.take(entry, fields)

    def run_once(self, block_ms=1_000):
        self.retry()
        for _, entries in self.client.xreadgroup(
                self.group, self.name, {STREAM: ">"}, count=32, block=block_ms) or []:
            for entry, fields in entries:
                self.take(entry, fields)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default=os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"))
    parser.add_argument("--group", required=True)
    parser.add_argument("--name", required=True)
    options = parser.parse_args()
    consumer = Consumer(
        redis.Redis.from_url(options.url, decode_responses=True), options.group, options.name)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        try:
            consumer.run_once()
        except redis.ResponseError as error:
            # Redis was emptied: what is not acknowledged comes again, to a group like the one before.
            if not str(error).startswith("NOGROUP"):
                raise
            consumer.join()
        except (redis.ConnectionError, redis.TimeoutError) as error:
            print(f"consumer: {error}", file=sys.stderr, flush=True)
            signal.sigtimedwait([], 1)


if __name__ == "__main__":
    main()
