from __future__ import annotations

import types

import kore_campaign_async
from kore_campaign_async import errors


def test_what_is_exported_is_what_is_there() -> None:
    """`__all__` is sorted and complete: no name is public by accident, none is missing."""
    public = {
        name
        for name, value in vars(kore_campaign_async).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
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
