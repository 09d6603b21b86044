"""How long to wait before the queue is asked again.

From azure-webjobs-sdk, RandomizedExponentialBackoffStrategy: at once doubling from 100 ms with 20 % of chance
in it, up to host.json's maxPollingInterval; back to 100 ms when a message was found.
"""

from random import Random

from local.host.hostjson import MIN_POLLING_SECONDS

_RANDOMIZATION = 0.2


class PollingBackoff:
    def __init__(self, max_seconds: float, random: Random) -> None:
        self._max = max_seconds
        self._random = random
        self._doublings = 0
        self._at_limit = False

    def next_seconds(self, *, found_messages: bool) -> float:
        """The next wait, given whether messages were found since the last one."""
        if found_messages:
            self._doublings, self._at_limit = 0, False
            return min(MIN_POLLING_SECONDS, self._max)
        share = self._random.uniform(1 - _RANDOMIZATION, 1 + _RANDOMIZATION)
        seconds = MIN_POLLING_SECONDS * (1 + share * 2.0**self._doublings)
        if self._at_limit or seconds >= self._max:
            self._at_limit = True
            return self._max
        self._doublings += 1
        return seconds
