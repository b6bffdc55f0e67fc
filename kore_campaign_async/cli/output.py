"""The door to the terminal: whatever a command prints goes through here, and nothing in it steers a terminal.

Names, cells, ids, files, settings, arguments and the server's words are other people's. What is printed is cleaned as
a whole, so that no place has to know which part of a line is whose. Only what rich draws has colours, and is cleaned
before it gets them (`drawing`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TextIO

import click

from kore_campaign_async.cli.sanitize import json_on_a_terminal, visible


def say(line: str = "", *, err: bool = False) -> None:
    """Print one line on standard output or standard error."""
    click.echo(visible(line), err=err)


def say_json(value: bytes) -> None:
    """Print JSON that ends in its own line end on standard output; it means what it meant."""
    click.echo(json_on_a_terminal(value.decode(), getattr(sys.stdout, "encoding", None) or "utf-8"), nl=False)


def guard() -> None:
    """Let what others print in this process through the door as well: click its mistakes, Python its tracebacks."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, _Guarded):
            setattr(sys, name, _Guarded(stream))


def unguarded(stream: TextIO) -> TextIO:
    """The stream behind the door, for what cleans its texts itself."""
    return stream.behind if isinstance(stream, _Guarded) else stream


class _Guarded:
    """A text stream that shows what would steer a terminal as its escape."""

    def __init__(self, behind: TextIO) -> None:
        self.behind = behind

    def __getattr__(self, name: str) -> Any:
        if name in {"buffer", "detach"}:
            raise AttributeError(name)  # ways around the door
        return getattr(self.behind, name)

    def write(self, text: str) -> int:
        """Write lines, cleaned."""
        self.behind.write("\n".join(map(visible, text.split("\n"))))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of these."""
        for line in lines:
            self.write(line)
