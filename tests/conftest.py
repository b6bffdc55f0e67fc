from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kore_campaign_async import CampaignClient
from kore_campaign_async.sandbox import Sandbox


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A sandbox without a rate limit, whose jobs are done at once, with the list Renewals that drops duplicates."""
    async with Sandbox(rate=None, job_seconds=0.0) as running:
        running.make_list("Renewals", "Due in July")
        yield running


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[CampaignClient]:
    async with CampaignClient.from_env(sandbox.environment) as made:
        yield made
