"""What the benchmarks share: the contacts, the server, and a process with what it took."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server import LISTING, QUEUED

HERE = Path(__file__).parent
CONTESTANTS = HERE / "contestants"
BATCH = 1000
FIVE_COLUMNS = ("phoneNumber", "firstName", "lastName", "timeZone", "uniqueId")
PHONE_ONLY = FIVE_COLUMNS[:1]

#: Whose account the server plays; where it is, its port tells.
ENVIRONMENT = {"KORE_APP_ID": "st-1", "KORE_ACCOUNT_ID": "1", "KORE_AUTH_TOKEN": "token"}
ADD_CONTACTS = "/api/1.1/public/st-1/campaign/contactList/addContacts"

# What answers an upload stands behind a proxy in the same process, since nginx's `return` answers before it has read
# the body, and no server that looks at contacts can do that.
_NGINX = """
daemon off; master_process off; worker_processes 1; pid "{folder}/pid"; error_log stderr error;
events {{ worker_connections 1024; }}
http {{
  access_log off; default_type application/json; keepalive_requests 1000000000;
  client_max_body_size 16m; client_body_buffer_size 2m;
  client_body_temp_path "{folder}/body"; proxy_temp_path "{folder}/proxy"; fastcgi_temp_path "{folder}/fastcgi";
  uwsgi_temp_path "{folder}/uwsgi"; scgi_temp_path "{folder}/scgi";
  upstream queue {{ server "unix:{folder}/queue"; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 200 '{listing}'; }}
    location = /calls {{ stub_status; }}
    location ~ addContacts$ {{
      proxy_pass http://queue; proxy_pass_request_body off; proxy_http_version 1.1;
      proxy_set_header Content-Length ""; proxy_set_header Connection "";
    }}
  }}
  server {{ listen "unix:{folder}/queue"; location / {{ return 200 '{queued}'; }} }}
}}
"""


def write_contacts(path: Path, rows: int, columns: Sequence[str] = FIVE_COLUMNS) -> None:
    """Write contacts, every number once."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(columns) + "\n")
        if len(columns) == 1:
            file.writelines(f"+1{2_000_000_000 + row}\n" for row in range(rows))
            return
        for row in range(rows):
            file.write(f"+1{2_000_000_000 + row},Ana {row % 977},Müller {row % 4001},America/Phoenix,C-{row}\n")


@dataclass(frozen=True)
class Server:
    """A server that answers from memory, in a process of its own."""

    name: str
    url: str
    pid: int

    def calls(self) -> int:
        """How many uploads it has answered, at least."""
        with urllib.request.urlopen(f"{self.url}/calls") as reply:  # noqa: S310  our own server
            said = reply.read().decode()
        if self.name == "server.py":
            return int(said)
        # nginx counts an upload on both sides of its proxy.
        return int(said.splitlines()[2].split()[2]) // 2

    def cpu_seconds(self) -> float:
        """What it has used so far; 0 where the system doesn't tell."""
        stat = Path(f"/proc/{self.pid}/stat")
        if not stat.exists():
            return 0.0
        user, system = stat.read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def local_server() -> Iterator[Server]:
    """Run nginx, or server.py where there is none."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        command = [sys.executable, str(HERE / "server.py")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, _stopped(process):
            assert process.stdout is not None
            port = int(process.stdout.readline())
            yield Server("server.py", f"http://127.0.0.1:{port}", process.pid)
        return
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        listing, queued = json.dumps(LISTING), json.dumps(QUEUED)
        settings = Path(folder) / "nginx.conf"
        settings.write_text(_NGINX.format(folder=folder, port=port, listing=listing, queued=queued))
        command = [program, "-e", "stderr", "-p", folder, "-c", str(settings)]
        with subprocess.Popen(command) as process, _stopped(process):
            _wait_for(port)
            yield Server("nginx", f"http://127.0.0.1:{port}", process.pid)


@contextlib.contextmanager
def _stopped(process: subprocess.Popen[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def _wait_for(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    sys.exit("nginx does not answer")


@dataclass(frozen=True)
class Took:
    """What a process took, start-up included, and the last line that it printed if that is JSON."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    said: Mapping[str, Any]


def timed(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Took:
    """Run a command in a folder; leave the benchmark with its last words if it fails."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        child = subprocess.Popen(command, env=os.environ | environment, cwd=folder, stdout=output, stderr=errors)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if child.returncode:
            sys.exit(f"{' '.join(command)} ended with {child.returncode}: {errors.read().decode()[-2000:]}")
        lines = output.read().splitlines()
    said = json.loads(lines[-1]) if lines and lines[-1].startswith(b"{") else {}
    # Linux counts in kilobytes, macOS in bytes.
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return Took(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit, said)


def alternate(commands: Mapping[str, Callable[[], Took]], pairs: int) -> dict[str, list[Took]]:
    """Run each so many times, taking turns, every other round backwards."""
    runs: dict[str, list[Took]] = {name: [] for name in commands}
    for order in orders(list(commands), pairs):
        for name in order:
            runs[name].append(commands[name]())
    return runs


def orders(names: list[str], rounds: int) -> Iterator[list[str]]:
    """Yield who runs when: a machine that grows slower meets everybody alike."""
    for number in range(rounds):
        yield names if number % 2 == 0 else names[::-1]


def median(values: Iterable[float]) -> float:
    """Return the median."""
    return statistics.median(values)
