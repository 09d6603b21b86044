"""The app as its callers reach it: `protect` over HTTP with the function key, timers by the master key.

And the Data Factory stand-in, to ask what it has copied.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from local.demo.errors import DemoFailed

ANSWER_SECONDS = 240  # the platform's own limit is 230


@dataclass(frozen=True)
class Protected:
    """What the calls that one container took found and did, all together."""

    calls: int = 0
    scanned: int = 0
    changed: int = 0
    snapshots_created: int = 0
    requested: int = 0
    failed: tuple[str, ...] = ()

    def and_then(self, answer: Mapping[str, Any]) -> "Protected":
        """With one more answer."""
        return Protected(
            self.calls + 1,
            self.scanned + answer["scanned"],
            self.changed + answer["changed"],
            self.snapshots_created + answer["snapshots_created"],
            self.requested + answer["requested"],
            (*self.failed, *(f"{failed['name']}: {failed['reason']}" for failed in answer["failed"])),
        )


class FunctionApp:
    """Calls the app's functions."""

    def __init__(self, session: aiohttp.ClientSession, ready: Mapping[str, str]) -> None:
        self._session = session
        self._url = ready["functions"]
        self._function_key = {"x-functions-key": ready["function_key"]}
        self._master_key = {"x-functions-key": ready["master_key"]}

    async def protect(self, container: str) -> Protected:
        """Protects a container, calling as often as it takes. Raises DemoFailed."""
        done, continuation = Protected(), None
        while True:
            status, answer = await self._post_protect({"container": container, "continuation": continuation})
            if status not in {200, 202}:
                raise DemoFailed(f"protect answered {status}: {answer}")
            done = done.and_then(answer)
            if answer["complete"]:
                return done
            continuation = answer["continuation"]

    async def start(self, function: str) -> None:
        """Starts a timer's function by hand, as an administrator does. Raises DemoFailed."""
        url = f"{self._url}/admin/functions/{function}"
        async with self._session.post(url, json={"input": ""}, headers=self._master_key) as response:
            if response.status != 202:
                raise DemoFailed(f"starting {function} was answered {response.status}: {await response.text()}")

    async def _post_protect(self, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        url = f"{self._url}/api/protect"
        limit = aiohttp.ClientTimeout(ANSWER_SECONDS)
        async with self._session.post(url, json=body, headers=self._function_key, timeout=limit) as response:
            if response.content_type != "application/json":
                raise DemoFailed(f"protect answered {response.status}: {await response.text()}")
            answer: dict[str, Any] = await response.json()
            return response.status, answer


class DataFactory:
    """Asks the stand-in what it did."""

    def __init__(self, session: aiohttp.ClientSession, ready: Mapping[str, str]) -> None:
        self._session = session
        self._url = f"{ready['adf']}/standin/runs"
        self._told = 0

    async def newly_copied(self) -> list[str]:
        """What it has copied since this was asked before."""
        copied = await self.copied()
        told, self._told = self._told, len(copied)
        return copied[told:]

    async def copied(self) -> list[str]:
        """The blobs that its succeeded runs were given to copy, in the order of the runs."""
        async with self._session.get(self._url, raise_for_status=True) as response:
            runs = (await response.json())["runs"]
        succeeded = [run for run in runs if run["status"] == "Succeeded"]
        return [blob["source"] for run in succeeded for blob in run["parameters"]["blobs"]]
