"""Who can go on with a run, by the settings in its journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kore_campaign_async.ingest.resuming import By, resuming

HERE = str(Path(__file__))


def settings(*files: str, do_not_contact: str | None = None, **source: Any) -> dict[str, Any]:
    return {
        "source": {"name": "the source", "files": [{"path": path} for path in files], **source},
        "options": {"do_not_contact": do_not_contact},
    }


@pytest.mark.parametrize(
    ("given", "by", "how"),
    [
        (settings(HERE), By.SHELL, "kore-campaign resume 'a run'"),
        (settings(HERE, HERE, path=None), By.SHELL, "kore-campaign resume 'a run'"),
        (settings(HERE, do_not_contact="numbers"), By.PYTHON, "resume_ingest(client, 'a run', do_not_contact=…)"),
        (
            settings(HERE, HERE, do_not_contact="a function"),
            By.PYTHON,
            "resume_ingest(client, 'a run', do_not_contact=…)",
        ),
        (settings(), By.NOBODY, ""),
        (settings(do_not_contact="numbers"), By.NOBODY, ""),
        ({}, By.NOBODY, ""),
        # Before format 5 and before `do_not_contact`.
        ({"source": {"name": "c.csv", "path": HERE}, "options": {}}, By.SHELL, "kore-campaign resume 'a run'"),
        ({"source": {"name": "list", "path": None}, "options": {}}, By.NOBODY, ""),
    ],
)
def test_who_can_go_on_with_it_and_how(given: dict[str, Any], by: By, how: str) -> None:
    found = resuming(Path("a run"), given)
    assert (found.by, found.how) == (by, how)
    assert bool(found.why) == (by is not By.SHELL)
    assert found.missing == ()
    assert (how or "it can't be resumed: ") in found.sentence


def test_a_file_that_is_gone_is_named() -> None:
    found = resuming(Path("run"), settings(HERE, "/nowhere/c.csv"))
    assert found.by is By.SHELL
    assert found.missing == ("/nowhere/c.csv",)
    assert found.sentence == "once /nowhere/c.csv is back in its place, kore-campaign resume run goes on with it"
