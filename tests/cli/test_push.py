from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest
from cli.shell import KORE_CAMPAIGN, environment, kore_campaign

from kore_campaign_async.sandbox import Sandbox

GOOD = "phoneNumber,firstName\n+14155550101,Ana\n+14155550102,Zoë\n"


def write(folder: Path, text: str | bytes, name: str = "contacts.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


async def test_a_good_file_goes_in_and_the_status_is_0(sandbox: Sandbox, tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    said = await kore_campaign("push", "contacts.csv", "--list", "Renewals", env=sandbox.environment, cwd=tmp_path)
    assert said.status == 0, said.err
    assert "2  accepted" in said.out
    assert sandbox.named("Renewals").contacts == [
        {"phoneNumber": "+14155550101", "firstName": "Ana"},
        {"phoneNumber": "+14155550102", "firstName": "Zoë"},
    ]
    (run,) = (tmp_path / "kore-runs").iterdir()
    assert f"run directory: kore-runs/{run.name}" in said.out
    assert json.loads((run / "report.json").read_bytes())["run_id"] == run.name


async def test_json_is_all_that_stands_on_standard_output(sandbox: Sandbox, tmp_path: Path) -> None:
    write(tmp_path, GOOD + "nobody,Bob\n")
    said = await kore_campaign(
        "push",
        "contacts.csv",
        "--list",
        "Renewals",
        "--json",
        "--run-dir",
        "run-1",
        env=sandbox.environment,
        cwd=tmp_path,
    )
    assert said.status == 1
    report = json.loads(said.out)
    assert report == json.loads((tmp_path / "run-1" / "report.json").read_bytes())
    assert report["counts"] == {
        "read": 3,
        "accepted": 2,
        "rejected": 1,
        "duplicate": 0,
        "suppressed": 0,
        "refused": 0,
        "uncertain": 0,
        "unsent": 0,
    }
    assert (tmp_path / "run-1" / "rejected.csv").read_bytes() == (
        b"row,reason,phoneNumber,firstName\r\n3,invalid_phone,nobody,Bob\r\n"
    )


async def test_a_mended_file_of_a_run_is_pushed_again(sandbox: Sandbox, tmp_path: Path) -> None:
    write(tmp_path, GOOD + "nobody,Bob\n")
    first = ("push", "contacts.csv", "--list", "Renewals", "--run-dir", "run-1")
    assert (await kore_campaign(*first, env=sandbox.environment, cwd=tmp_path)).status == 1
    rejected = tmp_path / "run-1" / "rejected.csv"
    rejected.write_text(rejected.read_text().replace("nobody", "+14155550103"))
    again = ("push", "run-1/rejected.csv", "--list", "Renewals", "--run-dir", "run-2")
    said = await kore_campaign(*again, env=sandbox.environment, cwd=tmp_path)
    assert said.status == 0
    assert "its columns row and reason are left out" in said.err
    assert sandbox.named("Renewals").contacts[-1] == {"phoneNumber": "+14155550103", "firstName": "Bob"}


async def test_standard_input_as_csv_and_as_ndjson(sandbox: Sandbox, tmp_path: Path) -> None:
    push = ("push", "-", "--list", "Renewals")
    said = await kore_campaign(*push, env=sandbox.environment, cwd=tmp_path, given=GOOD.encode())
    assert said.status == 0, said.err
    given = b'{"phone": 14155550104, "vip": true}\n'
    said = await kore_campaign(*push, env=sandbox.environment, cwd=tmp_path, given=given)
    assert said.status == 0, said.err
    assert sandbox.named("Renewals").contacts[-1] == {"phoneNumber": "14155550104", "vip": "true"}


async def test_create_makes_a_missing_list(sandbox: Sandbox, tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    said = await kore_campaign(
        *("push", "contacts.csv", "--list", "New", "--create", "--description", "made", "--allow-duplicates"),
        env=sandbox.environment,
        cwd=tmp_path,
    )
    assert said.status == 0, said.err
    assert sandbox.named("New").allows_duplicates
    assert len(sandbox.named("New").contacts) == 2


async def test_a_dry_run_sends_nothing_and_leaves_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    said = await kore_campaign(
        "push", "contacts.csv", "--list", "Renewals", "--dry-run", "--json", env=sandbox.environment, cwd=tmp_path
    )
    assert said.status == 0
    assert json.loads(said.out)["counts"]["unsent"] == 2
    assert sandbox.calls["addContacts"] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["contacts.csv"]


async def test_several_windows_and_other_settings_reach_the_run(sandbox: Sandbox, tmp_path: Path) -> None:
    write(tmp_path, "Customer ID,Telefon\n" + "".join(f"C{i},+1415555{i:04}\n" for i in range(25)))
    write(tmp_path, "+14155550003\n", "dnc.txt")
    said = await kore_campaign(
        *("push", "contacts.csv", "--list", "Renewals", "--json", "--max-contacts", "10", "--concurrency", "2"),
        *("--rate", "60/60", "--rate", "1800/3600", "--map", "Customer ID=uniqueId", "--map", "Telefon=phoneNumber"),
        *("--suppress", "dnc.txt", "--on-uncertain", "hold", "--timeout", "5"),
        env=sandbox.environment,
        cwd=tmp_path,
    )
    assert said.status == 0, said.err
    assert json.loads(said.out)["counts"]["suppressed"] == 1
    assert json.loads(said.out)["calls"] == {"sent": 3, "retried": 0, "throttled": 0}
    assert sandbox.named("Renewals").contacts[0] == {"uniqueId": "C0", "phoneNumber": "+14155550000"}


async def test_numbers_as_people_write_them(sandbox: Sandbox, tmp_path: Path) -> None:
    """Mended by their region, or rejected with a reason; the do-not-contact file is read alike."""
    texts = ["(415) 555-0101", "'4155550102", "4.155550103E+09", "4155550104.0", "0049 30 1234567", "4.15555E+09"]
    texts += ["415-555-0106 x12", "555-0107", "(015) 555-0108", "(415) 555-0109", "+14155550101"]
    write(tmp_path, "phone,firstName\n" + "".join(f"{text},Ana\n" for text in texts))
    write(tmp_path, "name,phone\nBob,415.555.0109\n", "dnc.csv")
    said = await kore_campaign(
        *("push", "contacts.csv", "--list", "Renewals", "--region", "us", "--suppress", "dnc.csv", "--run-dir", "run"),
        "--json",
        env=sandbox.environment,
        cwd=tmp_path,
    )
    assert said.status == 1, said.err
    counts = json.loads(said.out)["counts"]
    assert (counts["accepted"], counts["rejected"], counts["duplicate"], counts["suppressed"]) == (5, 4, 1, 1)
    assert {one["phoneNumber"] for one in sandbox.named("Renewals").contacts} == {
        *(f"+1415555010{last}" for last in range(1, 5)),
        "+49301234567",
    }
    assert (tmp_path / "run" / "rejected.csv").read_text().splitlines() == [
        "row,reason,phone,firstName",
        "6,lost_digits,4.15555E+09,Ana",
        "7,has_extension,415-555-0106 x12,Ana",
        "8,no_area_code,555-0107,Ana",
        "9,unassigned_phone,(015) 555-0108,Ana",
    ]


async def test_strict_rejects_what_cannot_exist(sandbox: Sandbox, tmp_path: Path) -> None:
    write(tmp_path, "phone\n+14155550101\n+10155550102\n14155550103\n")
    push = ("push", "contacts.csv", "--list", "Renewals", "--json", "--dry-run")
    for more, rejected in (((), 0), (("--strict",), 1), (("--region", "US", "--strict"), 1)):
        said = await kore_campaign(*push, *more, env=sandbox.environment, cwd=tmp_path)
        assert json.loads(said.out)["counts"]["rejected"] == rejected


async def test_sigterm_stops_the_run_in_order(sandbox: Sandbox, tmp_path: Path) -> None:
    """A stopped run ends with status 4 and a report that adds up."""
    write(tmp_path, "phone\n" + "".join(f"+1415{i:07}\n" for i in range(3000)))
    process = await asyncio.create_subprocess_exec(
        *(KORE_CAMPAIGN, "push", "contacts.csv", "--list", "Renewals", "--rate", "4/3600", "--run-dir", "run"),
        env=environment(sandbox.environment),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    while sandbox.calls["addContacts"] < 2:  # one read of lists, one of the list; then the budget ends
        assert process.returncode is None
        await asyncio.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    out, err = await process.communicate()
    assert process.returncode == 4, err.decode()
    assert "stopped: cancelled" in out.decode()
    assert "kore-campaign resume run goes on with it" in out.decode()
    report = json.loads((tmp_path / "run" / "report.json").read_bytes())
    counts = report["counts"]
    assert report["state"] == "stopped"
    assert counts["read"] == 3000 == sum(counts.values()) - counts["read"]
    assert counts["accepted"] + counts["uncertain"] == 2000


MISTAKES = {
    "a missing file": (None, [], 2, "missing.csv can't be read: No such file or directory"),
    "a directory": ("", ["."], 2, ". can't be read: Is a directory"),
    "an empty file": ("", [], 2, "contacts.csv is empty: it needs a header and contacts"),
    "a header alone": ("phone\n", [], 2, "contacts.csv has a header and no contacts"),
    "no number column": ("name,city\nAna,Rio\n", [], 2, "no number column; the columns are 'name', 'city'"),
    "two number columns": ("phone,mobile\n1,2\n", [], 2, "two columns for the field phoneNumber: 'phone', 'mobile'"),
    "utf-16": ((GOOD + "+14155550109\n").encode("utf-16"), [], 0, ""),
    "utf-16 without its mark": (GOOD.encode("utf-16-le"), [], 2, "name its encoding with --encoding"),
    "an unknown list": (GOOD, ["--list", "Renewal"], 2, "named 'Renewal'; the nearest are 'Renewals'"),
    "no such column": (GOOD, ["--map", "tel=phoneNumber"], 2, "no column 'tel' to map"),
    "a map without a field": (GOOD, ["--map", "tel"], 2, "'tel' is not written COLUMN=FIELD"),
    "a rate that is none": (GOOD, ["--rate", "fast"], 2, "a rate is written CALLS/SECONDS, such as 60/60"),
    "two rates that exclude each other": (GOOD, ["--rate", "none", "--rate", "1/1"], 2, "the rate none stands alone"),
    "create without a description": (GOOD, ["--create"], 2, "--create needs a --description"),
    "a description without create": (GOOD, ["--description", "x"], 2, "go with --create"),
    "a name that is too long": (GOOD, ["--list", "x" * 49, "--create", "--description", "x"], 2, "at most 48"),
    "a do-not-contact file that is missing": (GOOD, ["--suppress", "dnc"], 2, "do-not-contact file dnc can't be read"),
    "an unknown region": (GOOD, ["--region", "UK"], 2, "such as US or DE; the United Kingdom is GB"),
    "a region that is a word": (GOOD, ["--region", "USA"], 2, "region is 'USA'; it must be two letters of ISO 3166"),
    "duplicates kept on a list that drops them": (GOOD, ["--keep-duplicates"], 2, "drops duplicates, so it can't keep"),
    "a run directory that is a file": (
        GOOD,
        ["--run-dir", "contacts.csv"],
        2,
        "the run directory contacts.csv can't be",
    ),
    "no contacts in a call": (GOOD, ["--max-contacts", "0"], 2, "'--max-contacts'"),
    "bytes that are not UTF-8": (GOOD.encode() + b"+14155550109,\xff\n", [], 1, ""),
    "a NUL": (GOOD + "+14155550109,a\0b\n", [], 1, ""),
    "too many cells": (GOOD + "+14155550109,Ana,more\n", [], 1, ""),
    "too few cells": (GOOD + "+14155550109\n", [], 0, ""),
    "an unclosed quote": (GOOD + '+14155550109,"Ana\n', [], 1, ""),
    "a cell of 10 MB": (GOOD + "+14155550109," + "x" * 10_000_000 + "\n", [], 1, ""),
    "a quoted cell of 10 MB": (GOOD + '+14155550109,"' + "x" * 10_000_000 + '"\n', [], 1, ""),
}


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_bad_input_gets_one_sentence_or_a_rejected_row(mistake: str, sandbox: Sandbox, tmp_path: Path) -> None:
    """Never a traceback, and the rows around it go in."""
    text, more, status, sentence = MISTAKES[mistake]
    source = "missing.csv" if text is None else write(tmp_path, text).name
    if "." in more:
        source, more = ".", []
    arguments = ["push", source, "--list", "Renewals", *more]
    said = await kore_campaign(*arguments, env=sandbox.environment, cwd=tmp_path)
    assert said.status == status, said
    assert sentence in said.err
    if status == 2:
        assert sandbox.calls["addContacts"] == 0
        assert said.out == ""
    else:
        assert len(sandbox.named("Renewals").contacts) == (3 if status == 0 else 2)


async def test_settings_of_the_account_that_are_missing_or_wrong(sandbox: Sandbox, tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    push = ("push", "contacts.csv", "--list", "Renewals")
    said = await kore_campaign(*push, cwd=tmp_path)
    assert (said.status, said.err) == (
        2,
        (
            "kore-campaign: KORE_HOST, KORE_APP_ID and KORE_ACCOUNT_ID are not set in the environment; export them, or"
            " name a file of settings in KORE_CONFIG\n"
        ),
    )
    wrong = sandbox.environment | {"KORE_CLIENT_SECRET": "another secret of at least thirty-two characters"}
    said = await kore_campaign(*push, env=wrong, cwd=tmp_path)
    assert said.status == 2
    assert "401: the token was not accepted (Invalid token: InvalidSignatureError)" in said.err
    assert "nothing was sent" in said.err
    assert "another secret" not in said.err
    said = await kore_campaign(*push, env=sandbox.environment | {"KORE_HOST": "http://example.org"}, cwd=tmp_path)
    assert said.status == 2
    assert "use https" in said.err
