"""What the journal costs: a push with a run directory against the same push without one.

Both are whole processes, on the same file, against the same local server, taking turns; the ratio is the
median of the ratios of the pairs.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from pathlib import Path

from harness import ENVIRONMENT, Took, alternate, local_server, median, timed, write_contacts

_PUSH = """
import asyncio, sys
from kore_campaign_async import CampaignClient, ingest_contacts

async def main(source, run_dir):
    async with CampaignClient.from_env(rate=()) as client:
        report = await ingest_contacts(client, source, contact_list="Bench", run_dir=run_dir or None)
        assert report.exit_status == 0, report

asyncio.run(main(*sys.argv[1:]))
"""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, local_server() as server:
        folder = Path(name)
        contacts = folder / "contacts.csv"
        write_contacts(contacts, arguments.rows)
        numbers = itertools.count()

        def push(run_dir: str) -> Took:
            command = [sys.executable, "-c", _PUSH, str(contacts), run_dir]
            return timed(command, ENVIRONMENT | {"KORE_HOST": server.url}, folder)

        ways = {"with a journal": lambda: push(f"run-{next(numbers)}"), "without": lambda: push("")}
        runs = alternate(ways, arguments.pairs)
    for label, took in runs.items():
        print(f"{label:16} {arguments.rows / median(one.seconds for one in took):>12,.0f} contacts/s")
    both = zip(*runs.values(), strict=True)
    ratio = median(journal.seconds / without.seconds for journal, without in both)
    print(f"ratio: a push with a journal takes {ratio:.2f} times as long as one without")


if __name__ == "__main__":
    main()
