"""A real browser for the tests of pages: headless Chromium, spoken to by its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from attrs import define, field

_SECONDS = 60.0


def chromium() -> str:
    """The browser's path; without one the test skips, and fails where KORE_REQUIRE_CHROMIUM is set."""
    program = shutil.which("chromium")
    if program is None:
        if os.environ.get("KORE_REQUIRE_CHROMIUM"):
            pytest.fail("KORE_REQUIRE_CHROMIUM is set, and chromium is not on the path")
        pytest.skip("chromium is not on the path")
    return program


@define(eq=False)
class Tab:
    """One page of the browser.

    Attributes:
        complaints: what stood in its console, was thrown, or was refused by its policy.
        fetched: the addresses that it asked for.
    """

    _socket: aiohttp.ClientWebSocketResponse
    complaints: list[str] = field(factory=list)
    fetched: list[str] = field(factory=list)
    _next: int = 0

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._next += 1
        await self._socket.send_json({"id": self._next, "method": method, "params": parameters})
        return await self._until(lambda message: message.get("id") == self._next)

    async def _until(self, wanted: Any) -> dict[str, Any]:
        async with asyncio.timeout(_SECONDS):
            while True:
                message = await self._socket.receive_json()
                self._note(message)
                if wanted(message):
                    assert "error" not in message, message
                    return message.get("result") or {}

    def _note(self, message: dict[str, Any]) -> None:
        method, about = message.get("method"), message.get("params", {})
        if method == "Log.entryAdded":
            self.complaints.append(about["entry"]["text"])
        elif method in {"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Page.javascriptDialogOpening"}:
            self.complaints.append(str(about))
        elif method == "Network.requestWillBeSent":
            self.fetched.append(about["request"]["url"])

    async def open(self, file: Path, *, width: int, dark: bool) -> None:
        """Show a file as a window of this width does, and wait until it stands."""
        self.complaints.clear()
        self.fetched.clear()
        await self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
        )
        await self.ask(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )
        await self.ask("Page.navigate", url=file.as_uri())
        await self._until(lambda message: message.get("method") == "Page.loadEventFired")

    async def value(self, script: str) -> Any:
        """What an expression comes to in the page."""
        result = (await self.ask("Runtime.evaluate", expression=script, returnByValue=True))["result"]
        assert result.get("subtype") != "error", result
        return result.get("value")

    async def picture(self, file: Path) -> None:
        """Write the whole page as a PNG."""
        shown = await self.ask("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shown["data"]))


@asynccontextmanager
async def browser() -> AsyncIterator[Tab]:
    """Run the browser with one empty page."""
    program = chromium()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            *(program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
            *("--remote-debugging-port=0", "--remote-allow-origins=*", f"--user-data-dir={profile}", "about:blank"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            port = await _port(Path(profile), process)
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as reply:
                    pages = [one for one in await reply.json() if one["type"] == "page"]
                async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    tab = Tab(socket)
                    for domain in ("Page", "Log", "Runtime", "Network"):
                        await tab.ask(f"{domain}.enable")
                    yield tab
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _port(profile: Path, process: asyncio.subprocess.Process) -> int:
    async with asyncio.timeout(_SECONDS):
        while True:
            assert process.returncode is None, "chromium ended before it could be spoken to"
            with contextlib.suppress(FileNotFoundError, IndexError):
                return int((profile / "DevToolsActivePort").read_text().splitlines()[0])
            await asyncio.sleep(0.05)
