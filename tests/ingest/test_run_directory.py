"""A run directory is new, empty, or a run's: into anything else nothing is written, the first time and every time."""

from __future__ import annotations

import errno
import os
import shlex
import subprocess
import threading
from pathlib import Path
from typing import Any

import orjson
import pytest
from ingest.pushing import LIST, check_run_dir, csv_of, number, numbers, push, sandboxed

from kore_campaign_async import BatchLimits
from kore_campaign_async.errors import RunDirectoryError
from kore_campaign_async.ingest import directory, run
from kore_campaign_async.ingest import files as files_module
from kore_campaign_async.ingest.directory import RunLock, command, refuse_unless_new, replace
from kore_campaign_async.ingest.files import RunFiles
from kore_campaign_async.ingest.journal import Journal


def found_in(folder: Path) -> dict[str, tuple[int, bytes | str]]:
    """All that is there: kinds and contents."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(folder.rglob("*"))
    }


def a_symlink(folder: Path) -> None:
    (folder / "mine.csv").write_text("mine")
    (folder / "run").mkdir()
    (folder / "run" / "rejected.csv").symlink_to(folder / "mine.csv")


def a_dangling_link(folder: Path) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "lock").symlink_to(folder / "elsewhere")


def files(*names: str, content: str = "mine") -> Any:
    def make(folder: Path) -> None:
        for name in names:
            path = folder / "run" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    return make


#: What is there, and what a refusal names of it.
THEIRS = {
    "their own rejected.csv": (files("rejected.csv"), "'rejected.csv'"),
    "all of our files without a journal": (
        files("rejected.csv", "left_out.csv", "refused.csv", "uncertain.csv", "report.json", "reasons.json", "lock"),
        "'left_out.csv', 'lock', 'reasons.json' and 4 more",
    ),
    "the source": (files("contacts.csv"), "'contacts.csv'"),
    "a folder": (files("more/notes.txt"), "'more'"),
    "a hidden file": (files(".bashrc"), "'.bashrc'"),
    "a name that steers a terminal": (files("\x1b[31mred"), r"'\x1b[31mred'"),
    "a link to a file of theirs": (a_symlink, "'rejected.csv'"),
    "a link where the lock goes": (a_dangling_link, "'lock'"),
    "a lock that holds something": (files("lock"), "'lock'"),
    "a folder called like the part of a journal": (files("journal.sqlite.part/x"), "'journal.sqlite.part'"),
    "a log without its journal": (files("journal.sqlite-wal"), "'journal.sqlite-wal'"),
}


@pytest.mark.parametrize("case", THEIRS)
async def test_what_is_no_runs_is_left_as_it_is(case: str, tmp_path: Path) -> None:
    """Not even a lock is written beside it, and no list is made."""
    make, named = THEIRS[case]
    make(tmp_path)
    before = found_in(tmp_path)
    async with sandboxed(LIST) as (sandbox, client):
        for _ in range(2):
            with pytest.raises(RunDirectoryError) as caught:
                await push(client, numbers(2), run_dir=tmp_path / "run")
            assert found_in(tmp_path) == before
            assert f"{tmp_path / 'run'} holds what is no run's: {named}. A run directory must be new or" in str(
                caught.value
            )
        assert not sandbox.calls
        # What it says to do works.
        advised = Path(str(caught.value).rpartition(" such as ")[2])
        report = await push(client, numbers(2), run_dir=advised)
    assert report.counts.accepted == 2


async def test_the_working_directory_is_refused_by_its_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    csv_of(Path("rejected.csv"), "phone", number(1))
    csv_of(Path("run-1"), "theirs too")
    before = found_in(tmp_path)
    async with sandboxed(LIST) as (_, client):
        for _ in range(2):
            with pytest.raises(RunDirectoryError, match=r"^\. holds what is no run's: .*, such as run-2$"):
                await push(client, "rejected.csv", run_dir=Path())
    assert found_in(tmp_path) == before


async def test_what_an_early_kill_leaves_is_in_nobodys_way(tmp_path: Path) -> None:
    """Only a lock, and a part of a journal with its log, which must not be taken for one of the next part."""
    files(
        "journal.sqlite.part",
        "journal.sqlite.part-journal",
        "journal.sqlite.part-wal",
        content="SQLite format 3\0" + "torn" * 500,
    )(tmp_path)
    files("lock", content="")(tmp_path)
    async with sandboxed(LIST) as (_, client):
        report = await push(client, [number(1), "12"], run_dir=tmp_path / "run")
    assert check_run_dir(tmp_path / "run") == report


async def test_the_journal_is_there_before_any_outcome_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it a directory holds nothing of a run, so that the same command works after any early kill."""
    order: list[str] = []
    real = os.open

    def opened(path: Any, flags: int, *more: Any, **given: Any) -> int:
        if flags & os.O_CREAT:
            order.append(Path(path).name)
        return real(path, flags, *more, **given)

    monkeypatch.setattr(os, "open", opened)

    async with sandboxed(LIST) as (_, client):
        await push(client, [number(1)], run_dir=tmp_path / "run")
    ours = [name for name in order if name == "lock" or name.startswith("journal") or name.endswith(".csv")]
    ours = list(dict.fromkeys(ours))
    assert ours[:2] == ["lock", "journal.sqlite.part"]
    assert sorted(ours[2:6]) == ["left_out.csv", "refused.csv", "rejected.csv", "uncertain.csv"]


async def test_outcome_files_that_cant_be_made_leave_a_directory_that_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: Any, **_given: Any) -> None:
        raise RunDirectoryError("no space")

    async with sandboxed(LIST) as (sandbox, client):
        with monkeypatch.context() as patch:
            patch.setattr(RunFiles, "__init__", full)
            with pytest.raises(RunDirectoryError, match="no space"):
                await push(client, [number(1)], run_dir=tmp_path / "run")
        assert [path.name for path in (tmp_path / "run").iterdir()] == ["lock"]
        assert sandbox.calls["addContacts"] == 0
        report = await push(client, [number(1)], run_dir=tmp_path / "run")
    assert check_run_dir(tmp_path / "run") == report


@pytest.mark.parametrize("failing", ["scandir", "open", "mkdir"])
def test_a_directory_that_cant_be_used_says_why(failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Any, *_args: Any, **_given: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(RunDirectoryError, match=r"run can't be used: .*Read-only file system; name another one$"):
        RunLock(tmp_path / "run", new=True)


def test_what_a_run_directory_can_be(tmp_path: Path) -> None:
    refuse_unless_new(tmp_path / "new" / "below")
    assert list(tmp_path.iterdir()) == []
    refuse_unless_new(tmp_path)
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunDirectoryError, match=r"can't be used: .*: Not a directory; name another one"):
            refuse_unless_new(path)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(RunDirectoryError, match="link: File exists"):
        RunLock(tmp_path / "link", new=True)
    assert not (tmp_path / "nowhere").exists()


def test_a_run_names_the_whole_commands(tmp_path: Path) -> None:
    (tmp_path / "a run").mkdir()
    (tmp_path / "a run" / "journal.sqlite").write_bytes(b"")
    with pytest.raises(RunDirectoryError) as caught:
        refuse_unless_new(tmp_path / "a run")
    assert str(caught.value) == (
        f"{tmp_path}/a run holds a run already: kore-campaign resume '{tmp_path}/a run' goes on with it,"
        f" kore-campaign report '{tmp_path}/a run' shows it; or name another directory"
    )


@pytest.mark.parametrize(
    "name", ["run", "a run", "it's", "-rf", "$(rm -rf ~)", "a\nb", "\x1b[31m", "caf\udce9", "Übung", "a'\n'b", "\\\t"]
)
def test_a_command_can_be_copied(name: str, tmp_path: Path) -> None:
    """By a shell, whatever the directory is called; in one line that steers no terminal."""
    words = command("resume", Path(name))
    assert words.isprintable()
    script = f'kore-campaign() {{ printf "%s" "$#|$1|"; cd -- "$2" && pwd; }}; {words}'
    (tmp_path / name).mkdir()
    done = subprocess.run(  # noqa: S603  our own words
        ["/bin/bash", "-c", script], cwd=tmp_path, capture_output=True, check=True
    )
    assert done.stdout == b"2|resume|" + os.fsencode(tmp_path / name) + b"\n"
    if name.isprintable() and not name.startswith("-"):
        assert shlex.split(words) == ["kore-campaign", "resume", name]


def test_a_file_is_replaced_whole_and_a_link_itself(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "report.json").symlink_to(tmp_path / "mine")
    replace(tmp_path / "report.json", b"{}")
    assert (tmp_path / "mine").read_text() == "mine"
    assert (tmp_path / "report.json").read_bytes() == b"{}"
    assert not (tmp_path / "report.json").is_symlink()
    assert (tmp_path / "report.json").stat().st_mode & 0o777 == 0o600


def test_what_cant_be_written_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "report.json").write_text("before")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace(tmp_path / "report.json", b"after")
    assert found_in(tmp_path).keys() == {"report.json"}
    assert (tmp_path / "report.json").read_text() == "before"


async def test_a_journal_that_is_discarded_is_gone(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, {})
    journal.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    refuse_unless_new(tmp_path)


async def test_no_file_is_waited_for_on_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports and what takes the place of other files are put on the disk by another thread, also amid a run."""
    here, synced = threading.get_ident(), []
    real = RunFiles.write_report

    def written(*args: Any, **given: Any) -> None:
        synced.append(threading.get_ident())
        real(*args, **given)

    monkeypatch.setattr(RunFiles, "write_report", written)
    monkeypatch.setattr(run, "_SNAPSHOT_SECONDS", 0.0)
    async with sandboxed(LIST) as (_, client):
        await push(client, [*numbers(30), "12"], run_dir=tmp_path / "run", batch=BatchLimits(max_contacts=1))
    assert len(synced) > 10
    assert here not in synced


async def test_a_report_is_never_ahead_of_the_rows_that_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever it is looked at: amid a run, each snapshot's rejected contacts stand in the file and in the reasons."""
    seen = []
    real = directory.replace

    def replaced(path: Path, data: bytes) -> None:
        real(path, data)
        if path.name == "report.json":
            rejected = orjson.loads(data)["counts"]["rejected"]
            rows = (path.parent / "rejected.csv").read_bytes().count(b"\n") - 1
            reasons = orjson.loads((path.parent / "reasons.json").read_bytes())["reasons"]
            seen.append((rejected, rows, sum(reason["count"] for reason in reasons)))

    monkeypatch.setattr(files_module, "replace", replaced)
    monkeypatch.setattr(run, "_SNAPSHOT_SECONDS", 0.0)
    async with sandboxed(LIST) as (_, client):
        source = [item for one in numbers(60) for item in (one, "12")]
        await push(client, source, run_dir=tmp_path / "run", batch=BatchLimits(max_contacts=1))
    assert len({one for one, *_ in seen}) > 1
    assert all(one == rows == kept for one, rows, kept in seen)
