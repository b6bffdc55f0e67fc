"""How fast a CSV file goes out: `kore-campaign push` against the loop that people write without it.

Both are whole processes, on the same file, with the same batch size, against the same local server, taking
turns; the ratio is that of the medians. A machine's absolute numbers mean little, the ratio means something.

Run `make bench`, or `python benchmarks/push_csv.py --rows 10000000` for other sizes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_HERE = Path(__file__).parent
_BATCH = 1000

#: Whose account the server plays; where it is, its port tells.
ENVIRONMENT = {"KORE_APP_ID": "st-1", "KORE_ACCOUNT_ID": "1", "KORE_AUTH_TOKEN": "token"}


def write_contacts(path: Path, rows: int) -> None:
    """Write contacts of five columns, every number once."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("phoneNumber,firstName,lastName,timeZone,uniqueId\n")
        for row in range(rows):
            file.write(f"+1{2_000_000_000 + row},Ana {row % 977},Müller {row % 4001},America/Phoenix,C-{row}\n")


@contextlib.contextmanager
def local_server() -> Iterator[str]:
    """Run the server in a process of its own; yield its URL."""
    with subprocess.Popen([sys.executable, str(_HERE / "server.py")], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        finally:
            server.kill()


def timed(command: list[str], environment: dict[str, str], folder: Path) -> tuple[float, float]:
    """Run a command; return its seconds and its peak memory in MB."""
    began = time.perf_counter()
    child = subprocess.Popen(
        command, env=os.environ | environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - began
    assert child.stderr is not None
    said = child.stderr.read().decode()
    child.stderr.close()
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{command[0]} ended with {child.returncode}: {said[-2000:]}")
    return seconds, usage.ru_maxrss / 1024


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, local_server() as url:
        folder = Path(name)
        contacts = folder / "contacts.csv"
        write_contacts(contacts, arguments.rows)
        environment = ENVIRONMENT | {"KORE_HOST": url}
        shell = str(Path(sys.executable).with_name("kore-campaign"))
        ours = [shell, "push", str(contacts), "--list", "Bench", "--rate", "none", "--max-contacts", str(_BATCH)]
        path = "/api/1.1/public/st-1/campaign/contactList/addContacts"
        naive = [sys.executable, str(_HERE / "naive_loop.py"), url + path, str(contacts), str(_BATCH)]
        measured: dict[str, list[tuple[float, float]]] = {"kore-campaign push": [], "DictReader + json + aiohttp": []}
        for _ in range(arguments.pairs):
            for label, command in zip(measured, (ours, naive), strict=True):
                measured[label].append(timed(command, environment, folder))
    medians = {label: statistics.median(seconds for seconds, _ in runs) for label, runs in measured.items()}
    print(f"{arguments.rows:,} contacts of five columns, {_BATCH:,} a call, medians of {arguments.pairs} runs each")
    for label, runs in measured.items():
        peak = max(memory for _, memory in runs)
        print(f"{label:30} {arguments.rows / medians[label]:>12,.0f} contacts/s {peak:>8,.0f} MB peak")
    ours_seconds, naive_seconds = medians.values()
    print(f"ratio: {naive_seconds / ours_seconds:.2f} times the contacts per second of the plain loop")


if __name__ == "__main__":
    main()
