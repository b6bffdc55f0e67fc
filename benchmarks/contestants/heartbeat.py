"""How long the event loop stands still: a task that sleeps 2 ms again and again, and notes how late it wakes.

`heartbeat.py push FILE SIZE RUN_DIR` pushes a file meanwhile, `push-rows` the same as if there were no polars, and
`idle SECONDS` does nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time

if sys.argv[1] == "push-rows":
    sys.modules["polars"] = None  # type: ignore[assignment]

from kore_campaign_async import BatchLimits, CampaignClient, IngestOptions, ingest_contacts

_BEAT_SECONDS = 0.002


async def _beat(late: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(_BEAT_SECONDS)
        late.append(time.perf_counter() - began - _BEAT_SECONDS)


async def _push(client: CampaignClient, source: str, size: str, run_dir: str) -> None:
    options = IngestOptions(batch=BatchLimits(max_contacts=int(size)))
    report = await ingest_contacts(client, source, contact_list="Bench", run_dir=run_dir, options=options)
    assert report.exit_status == 0, report


async def _main(what: str, *more: str) -> None:
    late: list[float] = []
    # A service makes its client when it starts, and that imports aiohttp.
    client = CampaignClient.from_env(rate=())
    heart = asyncio.create_task(_beat(late))
    await asyncio.sleep(0.1)
    late.clear()
    began = time.perf_counter()
    await (asyncio.sleep(float(more[0])) if what == "idle" else _push(client, *more))
    seconds = time.perf_counter() - began
    # A beat that began during the work ends behind it.
    await asyncio.sleep(0.01)
    heart.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await heart
    await client.close()
    late.sort()
    found = {"longest_ms": late[-1] * 1e3, "p99_ms": late[int(len(late) * 0.99)] * 1e3}
    print(json.dumps(found | {"beats": len(late), "seconds": seconds}))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
