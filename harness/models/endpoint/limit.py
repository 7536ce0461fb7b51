"""How many calls are in flight: as many as the server bears."""

import asyncio
from collections import deque


class AdaptiveLimit:
    """A limit of calls in flight that halves when the server is overloaded, and grows by one with a round of success.

    Additive increase and multiplicative decrease, as TCP does it: several clients of one server come to fair shares
    without knowing of each other. Use it as an asynchronous context manager around each call; callers are served in
    order.

    Args:
        most: The highest limit, with which it begins.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.window = float(most)
        self.in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._cut = float("-inf")
        self._paused_until = float("-inf")

    async def __aenter__(self) -> None:
        """Wait for a place."""
        loop = asyncio.get_running_loop()
        if self._waiting or self.in_flight >= int(self.window):
            place = loop.create_future()
            self._waiting.append(place)
            try:
                await place
            except asyncio.CancelledError:
                if place.done() and not place.cancelled():  # the place was given, and goes to the next
                    self._leave()
                raise
        else:
            self.in_flight += 1
        try:
            while (pause := self._paused_until - loop.time()) > 0:
                await asyncio.sleep(pause)
        except asyncio.CancelledError:
            self._leave()
            raise

    async def __aexit__(self, *exception: object) -> None:
        """Give the place to the next."""
        self._leave()

    def overloaded(self, began: float, pause: float = 0.0) -> None:
        """Note that the server refused a call for its load.

        Args:
            began: When the call was sent, on the loop's clock: of the calls of one round only the first halves.
            pause: Seconds for which the server asked; nobody calls it before.
        """
        now = asyncio.get_running_loop().time()
        self._paused_until = max(self._paused_until, now + pause)
        if began > self._cut:
            self.window = max(1.0, self.window / 2)
            self._cut = now

    def succeeded(self) -> None:
        """Note that the server answered a call."""
        self.window = min(float(self.most), self.window + 1 / self.window)

    def _leave(self) -> None:
        self.in_flight -= 1
        while self._waiting and self.in_flight < int(self.window):
            place = self._waiting.popleft()
            if not place.done():
                self.in_flight += 1
                place.set_result(None)
