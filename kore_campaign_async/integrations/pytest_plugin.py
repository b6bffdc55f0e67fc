"""Fixtures for tests of code that builds on this package: `kore_sandbox` and `kore_client`. No network is needed.

pytest imports this in every project in which the package is installed, so it imports nothing that is not used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from kore_campaign_async.client import CampaignClient
    from kore_campaign_async.sandbox import SandboxThread

_PATIENCE_SECONDS: Final = 10.0


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "kore_sandbox(**settings): settings of the sandbox that the fixture kore_sandbox serves,"
        " such as faults=[Fault('503', every=2)] or rate=(5, 1.0)",
    )


@pytest.fixture
def kore_sandbox(request: pytest.FixtureRequest) -> Iterator[SandboxThread]:
    """A sandbox of the API on a free port, for this test alone; sync and async tests can use it.

    It is served in a thread of its own. It has no rate limit and stores contacts at once, unless the marker
    `kore_sandbox` says otherwise. `kore_sandbox.environment` holds the variables for the code under test.
    """
    from kore_campaign_async.sandbox import SandboxThread  # noqa: PLC0415  most test runs need none

    marker = request.node.get_closest_marker("kore_sandbox")
    settings = {"rate": None, "job_seconds": 0.0, **({} if marker is None else marker.kwargs)}
    with SandboxThread(**settings) as sandbox:
        yield sandbox


@pytest.fixture
def kore_client(kore_sandbox: SandboxThread) -> Iterator[CampaignClient]:
    """A client of `kore_sandbox` that repeats calls after milliseconds; it is closed after the test.

    It serves one event loop, whoever runs it: pytest-asyncio, anyio's plugin, or the test itself with `asyncio.run`.
    """
    from kore_campaign_async.client import CampaignClient  # noqa: PLC0415  most test runs need none
    from kore_campaign_async.config import RetryPolicy  # noqa: PLC0415

    retry = RetryPolicy(wait_initial_seconds=0.01, wait_max_seconds=0.05)
    client = CampaignClient.from_env(kore_sandbox.environment, retry=retry)
    yield client
    # The fixture is no async one, since which plugin would run that depends on the project. The test's loop may be
    # over by now, or be another thread's.
    loop = client._transport.loop  # noqa: SLF001  this package's own
    if loop is None or loop.is_closed():
        kore_sandbox.run(client.close())
    elif loop.is_running():
        asyncio.run_coroutine_threadsafe(client.close(), loop).result(_PATIENCE_SECONDS)
    else:
        loop.run_until_complete(client.close())
