"""What the journal costs: a push with a run directory against the same push without one.

Both are whole processes, on the same file, against the same local server, taking turns; the ratio is that of the
medians.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from harness import ENVIRONMENT, local_server, timed, write_contacts

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
    measured: dict[str, list[float]] = {"with a journal": [], "without": []}
    with tempfile.TemporaryDirectory() as name, local_server() as server:
        folder = Path(name)
        contacts = folder / "contacts.csv"
        write_contacts(contacts, arguments.rows)
        for pair in range(arguments.pairs):
            for label, run_dir in (("with a journal", f"run-{pair}"), ("without", "")):
                command = [sys.executable, "-c", _PUSH, str(contacts), run_dir]
                measured[label].append(timed(command, ENVIRONMENT | {"KORE_HOST": server.url}, folder).seconds)
    medians = {label: statistics.median(seconds) for label, seconds in measured.items()}
    for label, seconds in medians.items():
        print(f"{label:16} {arguments.rows / seconds:>12,.0f} contacts/s")
    ratio = medians["with a journal"] / medians["without"]
    print(f"ratio: a push with a journal takes {ratio:.2f} times as long as one without")


if __name__ == "__main__":
    main()
