"""How fast one person, or one address, may ask for something: buckets that fill up again with time."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(slots=True)
class Bucket:
    """Args: ``rate``: units that come back each second; ``size``: how many there are at most."""

    rate: float
    size: float
    level: float
    at: float

    @classmethod
    def full(cls, rate: float, size: float, now: float) -> Bucket:
        """One that nothing was taken from. ``now`` is monotonic seconds."""
        return cls(rate, size, size, now)

    def take(self, amount: float, now: float) -> float:
        """Take ``amount``; returns how many seconds to wait for what was not there (0: it was).

        It may be more than the bucket holds: then there is less than nothing, and the wait is as long.
        """
        self.level = min(self.size, self.level + (now - self.at) * self.rate) - amount
        self.at = now
        return max(0.0, -self.level / self.rate)

    def wait(self, now: float) -> float:
        """Seconds until there is at least one unit again; nothing is taken."""
        level = min(self.size, self.level + (now - self.at) * self.rate)
        return max(0.0, (1.0 - level) / self.rate)


class Paces:
    """One bucket for each name; the ones longest not used are forgotten, which lets them be full again.

    Args:
        rate: units each second.
        size: units at once.
        most: names remembered (``Limits.addresses_remembered``).
    """

    def __init__(self, rate: float, size: float, most: int) -> None:
        self._rate = rate
        self._size = size
        self._most = most
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, name: str, amount: float, now: float) -> float:
        """As ``Bucket.take``."""
        return self._bucket(name, now).take(amount, now)

    def wait(self, name: str, now: float) -> float:
        """As ``Bucket.wait``; 0 for a name never heard of."""
        bucket = self._buckets.get(name)
        return 0.0 if bucket is None else bucket.wait(now)

    def _bucket(self, name: str, now: float) -> Bucket:
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = Bucket.full(self._rate, self._size, now)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(name)
        return bucket
