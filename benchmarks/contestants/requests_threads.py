"""The careful loop over requests, with eight threads that post and a session in each."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import orjson
import requests
from common import HEADERS, IN_FLIGHT, arguments, batches, contacts, told

_own = threading.local()


def _start() -> None:
    _own.session = requests.Session()
    _own.session.headers.update(HEADERS)


def _send(url: str, body: bytes) -> None:
    reply = _own.session.post(url, data=body, timeout=30)
    assert "in progress" in reply.json()["message"]


def _main(url: str, path: Path, size: int) -> None:
    # One more than the threads, so that none waits for the reader.
    slots = threading.BoundedSemaphore(IN_FLIGHT + 1)
    failed: list[BaseException] = []

    def done(call: Future[None]) -> None:
        slots.release()
        error = call.exception()
        if error is not None:
            failed.append(error)

    with ThreadPoolExecutor(IN_FLIGHT, initializer=_start) as pool:
        for batch in batches(contacts(path), size):
            slots.acquire()
            body = orjson.dumps({"contact_list_name": "Bench", "data": batch})
            pool.submit(_send, url, body).add_done_callback(done)
    if failed:
        raise failed[0]


if __name__ == "__main__":
    with told():
        _main(*arguments())
