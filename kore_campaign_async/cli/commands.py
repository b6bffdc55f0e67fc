"""The commands, their options and their words: all that `--help` needs. What a command does is imported to be done."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def _later(module: str, name: str) -> Callable[..., Any]:
    """Stand in for a function of this package, which is imported when it is called."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(importlib.import_module(f"kore_campaign_async.cli.{module}"), name)(*args, **kwargs)

    return call


def _column_map(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    mapped: dict[str, str] = {}
    for text in texts:
        column, equals, field = text.rpartition("=")
        if not equals or not column or not field.strip():
            raise click.BadParameter(f"{text!r} is not written COLUMN=FIELD, such as 'Customer ID=uniqueId'")
        if column in mapped:
            raise click.BadParameter(f"the column {column!r} is mapped twice")
        mapped[column] = field.strip()
    return mapped


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Keep an option that all commands share; one behind a command's name overrules one before it."""
    if value:
        ctx.meta[f"kore_campaign_async.{param.name}"] = value
    return value


_SHARED: dict[str, Any] = {"expose_value": False, "callback": _keep}


def debuggable(command: F) -> F:
    """Give a command the option that shows tracebacks."""
    return click.option("--debug", is_flag=True, help="Show the traceback of an error.", **_SHARED)(command)


def configured(command: F) -> F:
    """Give a command the options that lead to its settings."""
    command = click.option(
        "--profile", metavar="NAME", help="A profile of that file.  [default: KORE_PROFILE]", **_SHARED
    )(debuggable(command))
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="A TOML file of settings, over the environment's.  [default: KORE_CONFIG]",
        **_SHARED,
    )(command)


_SHARED_RATE = click.option(
    "--shared-rate",
    metavar="URL",
    help="The Redis in which all processes keep the account's limit together.  [default: KORE_SHARED_RATE]",
)

_GRACE = click.option(
    "--grace",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="For calls in flight when a signal stops the run.  [default: 10]",
)


_REPORT_AS_JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print the report as JSON, and nothing else on standard output."
)


def _rate(default: str = "") -> Callable[[F], F]:
    return click.option(
        "--rate",
        multiple=True,
        callback=_later("asking", "rates"),
        metavar="CALLS/SECONDS[,even]",
        help=f"The account's limit, repeatable; even spaces the calls; none is no limit.{default}",
    )


def _timeout(default: float | None = None) -> Callable[[F], F]:
    return click.option(
        "--timeout",
        type=click.FloatRange(0, min_open=True),
        default=default,
        show_default=True,
        metavar="SECONDS",
        help="For one attempt of a call.",
    )


_MOVED = click.option(
    "--moved", is_flag=True, help="RUN_DIR is a copy, or was moved to another disk; nobody goes on with the other one."
)


@click.command("amend")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--run-dir",
    "new_run_dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Of the new run.  [default: RUN_DIR-amend-<n>]",
)
@click.option(
    "--suppress",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="A further do-not-contact file, repeatable; those of the run are read anew.",
)
@click.option("--max-contacts", type=click.IntRange(1), help="In one call.")
@click.option("--concurrency", type=click.IntRange(1), help="Calls in flight at most.")
@_rate()
@_SHARED_RATE
@_timeout()
@_GRACE
@_MOVED
@_REPORT_AS_JSON
@configured
def amend(**settings: Any) -> None:
    """Push the mended rows of the run in RUN_DIR into its list.

    Without a FILE its rejected.csv is read, as it was mended there in any program; refused.csv and uncertain.csv are
    read if they are named. List, region, columns and do-not-contact files are those of the run. Numbers that the run,
    or one that amended it, has sent or may have sent are left out. The exit status is that of push.
    """
    _later("amend", "amend_command")(**settings)


@click.command("create")
@click.argument("name")
@click.option("--description", required=True, metavar="TEXT", help="1 to 256 characters.")
@click.option("--allow-duplicates", is_flag=True, help="Keep a number that the list already has.")
@click.option("--json", "as_json", is_flag=True, help="Print the API's own object.")
@configured
def create(**settings: Any) -> None:
    """Create a contact list called NAME (1 to 48 characters)."""
    _later("lists", "create_command")(**settings)


@click.command("demo")
@debuggable
def demo(**settings: Any) -> None:
    """Push a sample of contacts into a sandbox on this machine, and show what became of each.

    The sample holds names in several scripts, quoted commas, bad numbers and duplicates, so the report has
    something to tell. The exit status is 0 if the demo went as it should.
    """
    _later("demo", "demo_command")(**settings)


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@configured
def doctor(**settings: Any) -> None:
    """Check settings, token, network, clock and permissions, with one call that changes nothing.

    It says line by line what is fine, what is not, and what to do next. The exit status is 0 if all is fine, 1 if the
    call failed, and 2 if a setting is wrong and nothing was sent.
    """
    _later("doctor", "doctor_command")(**settings)


@click.command("lists")
@click.option("--json", "as_json", is_flag=True, help="Print the API's own objects, as an array.")
@configured
def lists(**settings: Any) -> None:
    """Show the contact lists of the application."""
    _later("lists", "lists_command")(**settings)


@click.command("push")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("--list", "contact_list", required=True, metavar="NAME", help="The contact list's name.")
@click.option("--create", is_flag=True, help="Make the list if there is none of this name.")
@click.option("--description", metavar="TEXT", help="Of the list that --create makes.")
@click.option("--allow-duplicates", is_flag=True, help="The list that --create makes keeps duplicates.")
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the outcome files and the report go.  [default: ./kore-runs/<UTC>-<id>]",
)
@click.option("--max-contacts", type=click.IntRange(1), default=1000, show_default=True, help="In one call.")
@click.option("--max-bytes", type=click.IntRange(1), default=1 << 20, show_default=True, help="In one call's body.")
@click.option("--concurrency", type=click.IntRange(1), default=8, show_default=True, help="Calls in flight at most.")
@_rate("  [default: KORE_RATE, else 60/60]")
@_SHARED_RATE
@_timeout(30.0)
@click.option(
    "--on-uncertain",
    type=click.Choice(["auto", "hold", "resend"]),
    default="auto",
    show_default=True,
    help="Whether a call that may have been processed is sent again; auto: if the list drops duplicates.",
)
@_GRACE
@click.option("--list-drops-duplicates", is_flag=True, help="The list drops duplicates, though the API doesn't tell.")
@click.option("--keep-duplicates", is_flag=True, help="Send a number again that came earlier in the source.")
@click.option(
    "--isolate", is_flag=True, help="Find the contacts that a batch is refused for, in 100 more calls a batch."
)
@click.option(
    "--region",
    metavar="REGION",
    help="Read numbers as people there write them, such as US, and make them E.164 (extra phone).",
)
@click.option("--strict", is_flag=True, help="Reject a number that can't exist in its country (extra phone).")
@click.option("--require-plus", is_flag=True, help="Reject a number that is written without its +.")
@click.option(
    "--max-rejected",
    type=click.FloatRange(0, 100),
    default=50.0,
    show_default=True,
    metavar="PERCENT",
    help="Send nothing if more of the first 10,000 rows are rejected.",
)
@click.option(
    "--suppress",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="A do-not-contact file, repeatable: numbers that are left out, of all its phone columns and sheets.",
)
@click.option("--suppress-column", multiple=True, metavar="NAME", help="Of do-not-contact files, only this column.")
@click.option("--suppress-sheet", multiple=True, metavar="NAME", help="Of do-not-contact workbooks, only this sheet.")
@click.option("--allow-empty-suppress", is_flag=True, help="Go on where a do-not-contact file holds no number.")
@click.option(
    "--map",
    "column_map",
    multiple=True,
    callback=_column_map,
    metavar="COLUMN=FIELD",
    help="Which field a column is, repeatable.",
)
@click.option("--encoding", metavar="NAME", help="Of text files, such as windows-1252.  [default: found out]")
@click.option("--delimiter", metavar="CHAR", help="Of CSV files: a character, or tab.  [default: found out]")
@click.option("--sheet", metavar="NAME", help="Of workbooks.  [default: the first that is not hidden]")
@click.option("--no-header", is_flag=True, help="CSV files and workbooks begin with a contact; columns are 1, 2, ….")
@click.option("--dry-run", is_flag=True, help="Check everything, send nothing, and tell what a push takes.")
@_REPORT_AS_JSON
@configured
def push(**settings: Any) -> None:
    """Push the contacts of every SOURCE into a contact list, and account for every one.

    A SOURCE is a CSV or NDJSON file, also packed by gzip or zstd, an XLSX, Parquet or Arrow file, a pattern such
    as 'exports/*.csv', or - for standard input. Rows are numbered on through all files. The exit status is 0 if
    every contact was accepted or left out on purpose, 1 if some were rejected or refused, 3 if some are uncertain,
    4 if the run was stopped early, and 2 if something was wrong and nothing was sent.
    """
    _later("push", "push_command")(**settings)


@click.command("report")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the report as it stands in report.json.")
@click.option(
    "--html",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write it as a page to send to somebody: one file, which needs no network (extra report).",
)
@click.option("--show-numbers", is_flag=True, help="Show the numbers of examples whole, not their last three digits.")
@debuggable
def report(**settings: Any) -> None:
    """Show what became of the run in RUN_DIR, why, and what to do next; also of one that is running or was killed."""
    _later("report", "report_command")(**settings)


@click.command("resume")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--max-contacts", type=click.IntRange(1), help="In one call.")
@click.option("--concurrency", type=click.IntRange(1), help="Calls in flight at most.")
@_rate()
@_SHARED_RATE
@_timeout()
@click.option(
    "--on-uncertain",
    type=click.Choice(["auto", "hold", "resend"]),
    help="Whether what may have been processed is sent again.",
)
@_GRACE
@_MOVED
@_REPORT_AS_JSON
@configured
def resume(**settings: Any) -> None:
    """Go on with the run in RUN_DIR, and account for all of its contacts.

    Every setting comes from the run's journal, credentials never; the flags are settings given anew. What is
    settled is not sent again. The exit status is that of push.
    """
    _later("resume", "resume_command")(**settings)


@click.command("sandbox")
@click.option("--port", type=click.IntRange(0, 65535), default=8321, show_default=True, help="0 takes a free one.")
@click.option(
    "--rate",
    default="60/60",
    show_default=True,
    callback=_later("asking", "rates"),
    metavar="CALLS/SECONDS",
    help="The account's limit; none for no limit.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    callback=_later("sandbox", "faults"),
    metavar="KIND@EVERY",
    help="Fail every so many calls that add contacts, such as close@10; a KIND that is not known lists them all.",
)
@debuggable
def sandbox(**settings: Any) -> None:
    """Serve the API on this machine, with an account of its own, until interrupted.

    It prints the environment variables that lead the other commands to it.
    """
    _later("sandbox", "sandbox_command")(**settings)


@click.command("update")
@click.argument("contact_list_id", metavar="ID")
@click.option("--name", metavar="TEXT", help="1 to 48 characters.")
@click.option("--description", metavar="TEXT", help="1 to 256 characters.")
@click.option("--allow-duplicates/--no-allow-duplicates", default=None, help="Whether the list keeps duplicates.")
@click.option("--source", metavar="WORD", help="The vendor's word for where the contacts come from.")
@click.option("--json", "as_json", is_flag=True, help="Print the API's own reply.")
@configured
def update(**settings: Any) -> None:
    """Update the contact list with this ID; what is left out stays as it is."""
    _later("lists", "update_command")(**settings)
