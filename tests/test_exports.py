from __future__ import annotations

import ast
import importlib
import pickle
import subprocess
import sys
import types
from pathlib import Path

import pytest

import kore_campaign_async
from kore_campaign_async import errors


def test_what_is_exported_is_what_is_there() -> None:
    """`__all__` is sorted and complete: no name is public by accident, none is missing."""
    public = {
        name
        for name in dir(kore_campaign_async)
        if not name.startswith("_") and not isinstance(getattr(kore_campaign_async, name), types.ModuleType)
    }
    assert set(kore_campaign_async.__all__) == public
    assert list(kore_campaign_async.__all__) == sorted(kore_campaign_async.__all__)


def test_every_error_is_exported() -> None:
    raised = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, BaseException) and value.__module__ == errors.__name__
    }
    assert raised <= set(kore_campaign_async.__all__)


def test_type_checkers_see_what_is_imported() -> None:
    """The imports that nobody runs and the names that are looked up are the same, of the module that defines them."""
    tree = ast.parse(Path(kore_campaign_async.__file__).read_text(encoding="utf-8"))
    seen = {
        alias.asname or alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(seen) == kore_campaign_async.__all__
    for name, module in seen.items():
        assert getattr(kore_campaign_async, name) is getattr(importlib.import_module(str(module)), name)


def test_a_star_imports_everything_and_dir_nothing() -> None:
    script = (
        "import sys, kore_campaign_async\n"
        "assert set(kore_campaign_async.__all__) < set(dir(kore_campaign_async))\n"
        "assert not [name for name in sys.modules if name.startswith('kore_campaign_async.')]\n"
        "from kore_campaign_async import *\n"
        "assert set(kore_campaign_async.__all__) <= set(globals())\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)  # noqa: S603  our own words


def test_a_name_that_is_not_ours_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'kore_campaign_async' has no attribute 'CampaignKlient'"):
        _ = kore_campaign_async.CampaignKlient  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="cannot import name 'CampaignKlient'"):
        exec("from kore_campaign_async import CampaignKlient")  # noqa: S102  type checkers know it is wrong


@pytest.mark.parametrize("name", kore_campaign_async.__all__)
def test_every_name_pickles_by_its_own_module(name: str) -> None:
    value = getattr(kore_campaign_async, name)
    assert pickle.loads(pickle.dumps(value)) is value  # noqa: S301  our own bytes
