"""How fast contacts go out, what that takes, and what else ours cost: `kore-campaign push` beside other ways.

All are whole processes, on the same file, with the same batch size, against the same local server, taking turns; a
ratio is the median of the ratios within each round. A machine's absolute numbers mean little, the ratios something.

Run `make bench`, or `python benchmarks/throughput.py --rows 100000`; README.md says how to read what it prints.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import (
    ADD_CONTACTS,
    BATCH,
    CONTESTANTS,
    ENVIRONMENT,
    FIVE_COLUMNS,
    HERE,
    PHONE_ONLY,
    Server,
    Took,
    alternate,
    local_server,
    median,
    orders,
    timed,
    write_contacts,
)

_SHELL = str(Path(sys.executable).with_name("kore-campaign"))
_FIVE, _PHONE = "five columns", "phone only"
_TABLES, _ROWS, _CAREFUL, _NAIVE, _FRAME = "tables", "rows", "careful", "naive", "frame"
#: A contestant that is slower than the naive loop has told enough after so many rounds.
_SLOW_ROUNDS = 3
_BEST_OF = 3
_IDLE_SECONDS = "3"
_START_UP_ROUNDS = 13
_SINGLE_CALLS = 2000
_WARM_UP_ROWS = 2000


@dataclass(frozen=True)
class Contestant:
    """A way to push a file: of what kind, how it is called in the table, and what it can't run without."""

    kind: str
    columns: str
    label: str
    program: str
    needs: str | None = None
    more: tuple[str, ...] = ()


# Ours stand between the fastest and the slowest, beside the loop that they are compared with.
_FIELD = (
    Contestant("prebuilt keep", _FIVE, "encoded beforehand, kept alive", "prebuilt", None, ("keep",)),
    Contestant("prebuilt close", _FIVE, "encoded beforehand, closed (ceiling)", "prebuilt", None, ("close",)),
    Contestant(_FRAME, _FIVE, "ours: ingest_contacts of a frame", "push_frame", "polars"),
    Contestant(_TABLES, _FIVE, "ours: push, polars installed", "", "polars"),
    Contestant(_CAREFUL, _FIVE, "careful loop: csv.reader+orjson+aiohttp", "careful_loop"),
    Contestant(_ROWS, _FIVE, "ours: push, no polars", "push_without_polars"),
    Contestant(_NAIVE, _FIVE, "naive loop: DictReader+json+aiohttp", "naive_loop"),
    Contestant("requests", _FIVE, "careful reading, requests, 8 threads", "requests_threads", "requests"),
    Contestant("httpx", _FIVE, "careful reading, httpx", "httpx_loop", "httpx"),
    Contestant("elasticsearch", _FIVE, "careful reading, async_streaming_bulk", "elasticsearch_bulk", "elasticsearch"),
    Contestant(_TABLES, _PHONE, "ours: push, polars installed", "", "polars"),
    Contestant(_CAREFUL, _PHONE, "careful loop: csv.reader+orjson+aiohttp", "careful_loop"),
    Contestant(_ROWS, _PHONE, "ours: push, no polars", "push_without_polars"),
)


@dataclass
class Result:
    """What the rounds of a contestant took; None where it did not run in a round."""

    contestant: Contestant
    rounds: list[Took | None] = field(default_factory=list)
    server_cpu_seconds: list[float] = field(default_factory=list)

    @property
    def took(self) -> list[Took]:
        """The rounds that it ran in."""
        return [one for one in self.rounds if one is not None]

    @property
    def always_runs(self) -> bool:
        """Whether it is one that others are compared with, or the one that ours are to beat."""
        return self.contestant.kind in {_TABLES, _ROWS, _CAREFUL, _NAIVE, _FRAME}

    def seconds(self) -> float:
        """The median of the whole process, or of the work alone where only that can be compared."""
        return median(_counted(self.contestant, one) for one in self.took)


def _counted(contestant: Contestant, took: Took) -> float:
    return float(took.said["seconds"]) if contestant.kind == _FRAME else took.seconds


def _counted_cpu(contestant: Contestant, took: Took) -> float:
    return float(took.said["cpu_seconds"]) if contestant.kind == _FRAME else took.cpu_seconds


class Bench:
    """Runs contestants against a server, in a temporary folder."""

    def __init__(self, server: Server, folder: Path, rows: int) -> None:
        self.server = server
        self.folder = folder
        self.rows = rows
        self.environment = ENVIRONMENT | {"KORE_HOST": server.url}
        self._runs = 0

    def file(self, columns: str, rows: int) -> Path:
        """Return a file of so many contacts, which is written once."""
        path = self.folder / f"{columns.replace(' ', '-')}-{rows}.csv"
        if not path.exists():
            write_contacts(path, rows, FIVE_COLUMNS if columns == _FIVE else PHONE_ONLY)
        return path

    def _bodies(self, contestant: Contestant, rows: int) -> Path:
        source = self.file(contestant.columns, rows)
        path = source.with_suffix(".bodies")
        if not path.exists():
            timed(self.program("prebuilt", "write", str(source), str(BATCH), str(path)), {}, self.folder)
        return path

    def program(self, name: str, *arguments: str) -> list[str]:
        """Return the command of one of contestants/."""
        return [sys.executable, str(CONTESTANTS / f"{name}.py"), *arguments]

    def run_dir(self) -> Path:
        """Return a directory that no run has had."""
        self._runs += 1
        return self.folder / f"run-{self._runs}"

    def run(self, contestant: Contestant, rows: int) -> tuple[Took, float]:
        """Let a contestant push; return what it took, and the server's CPU seconds meanwhile."""
        run_dir = self.run_dir()
        bodies = contestant.program == "prebuilt"
        source = str(self._bodies(contestant, rows) if bodies else self.file(contestant.columns, rows))
        url = self.server.url + ADD_CONTACTS
        if contestant.kind in {_TABLES, _ROWS}:
            shell = [_SHELL] if not contestant.program else self.program(contestant.program)
            flags = ("--list", "Bench", "--rate", "none", "--max-contacts", str(BATCH), "--run-dir", str(run_dir))
            command = [*shell, "push", source, *flags]
        elif contestant.kind == _FRAME:
            command = self.program(contestant.program, source, str(BATCH), str(run_dir))
        else:
            command = self.program(contestant.program, url, source, str(BATCH), *contestant.more)
        calls, used = self.server.calls(), self.server.cpu_seconds()
        took = timed(command, self.environment, self.folder)
        used = self.server.cpu_seconds() - used
        calls = self.server.calls() - calls
        shutil.rmtree(run_dir, ignore_errors=True)
        if "skipped" not in took.said and calls < rows / BATCH:
            sys.exit(f"{contestant.label} made {calls} calls for {rows} contacts")
        return took, used

    def able(self, contestant: Contestant) -> bool:
        """Let a contestant push a few contacts, so that its files are warm; say so if it can't."""
        why = None
        if contestant.needs is not None and importlib.util.find_spec(contestant.needs) is None:
            why = f"{contestant.needs} is not installed"
        else:
            why = self.run(contestant, _WARM_UP_ROWS)[0].said.get("skipped")
        if why is not None:
            print(f"left out: {contestant.label}, {contestant.columns}: {why}")
        return why is None


def race(bench: Bench, pairs: int) -> list[Result]:
    """Let all contestants push the same contacts, taking turns."""
    results = [Result(one) for one in _FIELD if bench.able(one)]
    at = {str(number): result for number, result in enumerate(results)}
    naive = next(result for result in results if result.contestant.kind == _NAIVE)
    for done, order in enumerate(orders(list(at), pairs)):
        for result in (at[name] for name in order):
            if done >= _SLOW_ROUNDS and not result.always_runs and result.seconds() > naive.seconds():
                result.rounds.append(None)
                continue
            took, server = bench.run(result.contestant, bench.rows)
            result.rounds.append(took)
            result.server_cpu_seconds.append(server)
    return results


def ratio(results: list[Result], ours: str, to: Result) -> float | None:
    """How many times the contacts per second of another one of ours pushes; the median of the rounds."""
    same = [one for one in results if one.contestant.columns == to.contestant.columns]
    mine = next((one for one in same if one.contestant.kind == ours), None)
    if mine is None or mine is to:
        return None
    both = zip(mine.rounds, to.rounds, strict=True)
    found = [
        _counted(to.contestant, theirs) / _counted(mine.contestant, own)
        for own, theirs in both
        if own is not None and theirs is not None
    ]
    return median(found)


def frame_ratio(results: list[Result]) -> float | None:
    """How many times the contacts per second of the careful loop a frame goes out with; both without start-up."""
    kinds = {one.contestant.kind: one for one in results if one.contestant.columns == _FIVE}
    if _FRAME not in kinds:
        return None
    both = zip(kinds[_FRAME].took, kinds[_CAREFUL].took, strict=True)
    return median(careful.said["seconds"] / frame.said["seconds"] for frame, careful in both)


def show_race(bench: Bench, results: list[Result], pairs: int) -> list[dict[str, Any]]:
    """Print the table; return it."""
    millions = bench.rows / 1e6
    rows = []
    for columns in (_FIVE, _PHONE):
        print(f"\n{bench.rows:,} contacts, {columns}, {BATCH:,} a call, {bench.server.name} answers, {pairs} rounds")
        heads = f"{'CPU s/M':>8} {'peak MB':>8} {'server s/M':>10} {'ours is':>9} {'no polars':>9}"
        print(f"{'':40} {'contacts/s':>11} {heads}")
        for result in results:
            if result.contestant.columns != columns:
                continue
            row = {
                "columns": columns,
                "kind": result.contestant.kind,
                "label": result.contestant.label,
                "contacts_per_second": bench.rows / result.seconds(),
                "cpu_seconds_a_million": median(_counted_cpu(result.contestant, one) for one in result.took) / millions,
                "peak_mb": max(one.peak_mb for one in result.took),
                "server_cpu_seconds_a_million": median(result.server_cpu_seconds) / millions,
                "server_busy": median(result.server_cpu_seconds) / result.seconds(),
                "times_with_polars": ratio(results, _TABLES, result),
                "times_without_polars": ratio(results, _ROWS, result),
                "seconds": [one.seconds for one in result.took],
                "seconds_without_start_up": [one.said.get("seconds") for one in result.took],
            }
            rows.append(row)
            print(
                f"{row['label']:40} {row['contacts_per_second']:>11,.0f} {row['cpu_seconds_a_million']:>8.2f}"
                f" {row['peak_mb']:>8,.0f} {row['server_cpu_seconds_a_million']:>10.2f}"
                f" {_times(row['times_with_polars']):>9} {_times(row['times_without_polars']):>9}"
            )
    busiest = max(rows, key=lambda row: row["server_busy"])
    print(f"the server was busy for {busiest['server_busy']:.0%} of the time at most ({busiest['label']})")
    of_a_frame = frame_ratio(results)
    if of_a_frame is not None:
        print(f"a frame in memory: {of_a_frame:.2f} times the careful loop, both without the start of the process")
    return rows


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} x"


def memory(bench: Bench, known: Mapping[str, float], *, full: bool) -> list[dict[str, Any]]:
    """Print the peak memory at some sizes, the first of which is known if there was a race; return it."""
    sizes = [bench.rows, bench.rows * 13 // 10, *((bench.rows * 5, bench.rows * 10) if full else ())]
    contestants = [one for one in _FIELD if one.columns == _FIVE and one.kind in {_TABLES, _ROWS, _CAREFUL}]
    contestants = [one for one in contestants if one.needs is None or importlib.util.find_spec(one.needs) is not None]
    print("\n" + f"{'peak memory in MB, five columns':40} " + " ".join(f"{size:>12,}" for size in sizes))
    rows = []
    for one in contestants:
        peaks = {str(size): bench.run(one, size)[0].peak_mb for size in sizes if size != bench.rows or not known}
        if known:
            peaks = {str(bench.rows): known[one.kind]} | peaks
        rows.append({"kind": one.kind, "label": one.label, "peak_mb": peaks})
        print(f"{one.label:40} " + " ".join(f"{peak:>12,.0f}" for peak in peaks.values()))
    for size in sizes[1:]:
        bench.file(_FIVE, size).unlink()
    return rows


def stalls(bench: Bench) -> list[dict[str, Any]]:
    """Print for how long the loop of a program stands still while it pushes; return it."""
    source = str(bench.file(_FIVE, bench.rows))
    ways = {"ours, no polars": "push-rows"}
    if importlib.util.find_spec("polars") is not None:
        ways = {"ours, polars installed": "push"} | ways

    def push(how: str) -> Took:
        run_dir = bench.run_dir()
        command = bench.program("heartbeat", how, source, str(BATCH), str(run_dir))
        took = timed(command, bench.environment, bench.folder)
        shutil.rmtree(run_dir)
        return took

    def idle() -> Took:
        return timed(bench.program("heartbeat", "idle", _IDLE_SECONDS), bench.environment, bench.folder)

    commands = {way: (lambda how=how: push(how)) for way, how in ways.items()} | {"idle": idle}
    runs = alternate(commands, _BEST_OF)
    print(f"\n{'stalls of the event loop, best of three':40} {'longest ms':>11} {'p99 ms':>8}")
    rows = []
    for name, took in runs.items():
        longest, p99 = (min(one.said[what] for one in took) for what in ("longest_ms", "p99_ms"))
        rows.append({"label": name, "longest_ms": longest, "p99_ms": p99, "runs": [dict(one.said) for one in took]})
        print(f"{name:40} {longest:>11.1f} {p99:>8.2f}")
    return rows


def one_call(bench: Bench) -> dict[str, Any]:
    """Print what a call of one contact costs; return it."""
    command = bench.program("one_contact", bench.server.url + ADD_CONTACTS, str(_SINGLE_CALLS))
    said = timed(command, bench.environment, bench.folder).said
    print(f"\n{'one add_contacts of one contact':40} {'µs':>11} {'CPU µs':>8}")
    print(f"{'ours':40} {said['ours_us']:>11.0f} {said['ours_cpu_us']:>8.0f}")
    print(f"{'a bare POST by aiohttp, same settings':40} {said['bare_us']:>11.0f} {said['bare_cpu_us']:>8.0f}")
    more, times = said["ours_us"] - said["bare_us"], said["ours_us"] / said["bare_us"]
    print(f"{'ours costs':40} {more:>+11.0f} µs, {times:.2f} x")
    return dict(said)


def start_up(bench: Bench) -> list[dict[str, Any]]:
    """Print how long it takes to start; return it."""
    commands = {
        "python -c 'import click'": [sys.executable, "-c", "import click"],
        "kore-campaign --help": [_SHELL, "--help"],
        "import aiohttp": [sys.executable, "-c", "import aiohttp"],
        "import CampaignClient": [sys.executable, "-c", "from kore_campaign_async import CampaignClient"],
        "python -c pass": [sys.executable, "-c", "pass"],
    }
    # The first run of each only fills caches.
    rounds = 1 + _START_UP_ROUNDS
    runs = alternate({name: (lambda c=what: timed(c, {}, bench.folder)) for name, what in commands.items()}, rounds)
    milliseconds = {name: median(one.seconds for one in took[1:]) * 1e3 for name, took in runs.items()}
    print(f"\n{f'start-up, medians of {_START_UP_ROUNDS}':40} {'ms':>11}")
    for name, value in milliseconds.items():
        print(f"{name:40} {value:>11.0f}")
    click, shell, aiohttp, client, _ = milliseconds.values()
    print(f"kore-campaign --help takes {shell / click:.2f} x as long as click's import")
    print(f"CampaignClient takes {client / aiohttp:.2f} x as long as aiohttp's import")
    return [{"label": name, "ms": value} for name, value in milliseconds.items()]


def machine(server: Server) -> dict[str, Any]:
    """What all this ran on."""
    found = importlib.util.find_spec("polars")
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
        "server": server.name,
        "polars": found is not None,
    }


def keep(results: Mapping[str, Any], out: Path) -> None:
    """Write the results, and draw them where that can be done."""
    out.mkdir(parents=True, exist_ok=True)
    path, plot = out / "latest.json", out / "latest.svg"
    path.write_text(json.dumps(results, indent=2) + "\n")
    print(f"\nwrote {path}")
    if "throughput" not in results:
        return
    if importlib.util.find_spec("matplotlib") is None:
        print("no plot: matplotlib is not installed")
        return
    # A process of its own: what this one has imported would count as memory of those that it starts.
    subprocess.run([sys.executable, str(HERE / "plot.py"), str(path), str(plot)], check=True)
    print(f"wrote {plot}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=int, default=5, help="rounds, in each of which everybody runs once")
    parser.add_argument("--full", action="store_true", help="peak memory also at five and ten times the rows")
    parser.add_argument("--out", type=Path, default=HERE / "results", metavar="FOLDER")
    sections = ("throughput", "memory", "stalls", "one_call", "start_up")
    parser.add_argument("--only", choices=sections, action="append", help="only this part; repeatable")
    arguments = parser.parse_args()
    parts = arguments.only or sections
    began = time.perf_counter()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors before the first run")
    with tempfile.TemporaryDirectory() as name, local_server() as server:
        bench = Bench(server, Path(name), arguments.rows)
        results: dict[str, Any] = {"machine": machine(server), "rows": arguments.rows, "contacts_a_call": BATCH}
        if "start_up" in parts:
            results["start_up"] = start_up(bench)
        if "one_call" in parts:
            results["one_call"] = one_call(bench)
        if "throughput" in parts:
            results["throughput"] = show_race(bench, race(bench, arguments.pairs), arguments.pairs)
        if "stalls" in parts:
            results["stalls"] = stalls(bench)
        if "memory" in parts:
            race_rows = [row for row in results.get("throughput", []) if row["columns"] == _FIVE]
            known = {row["kind"]: row["peak_mb"] for row in race_rows}
            results["memory"] = memory(bench, known, full=arguments.full)
    keep(results, arguments.out)
    print(f"all of this took {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
