"""The exceptions: what is drawn is what is there, and all of it survives a pickle."""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest

from kore_campaign_async import errors
from kore_campaign_async.errors import CallError, CallOutcome, KoreCampaignError

ALL = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, KoreCampaignError)]
CALL_ERRORS = [kind for kind in ALL if issubclass(kind, CallError)]
PLAIN_ERRORS = [kind for kind in ALL if not issubclass(kind, CallError)]
ATTRIBUTES = ("reason", "method", "path", "status", "words", "retry_after_seconds", "attempts")


def drawn_tree() -> dict[str, tuple[str | None, str]]:
    """Class name -> (the name of the class above it, what is said of it), as the module's docstring draws it."""
    tree: dict[str, tuple[str | None, str]] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.fullmatch(r"    ((?:│   |    )*(?:[├└]── )?)([A-Z]\w*Error)(?: +(\S.*))?", line)
        if match is None:
            continue
        depth = len(match[1]) // 4
        del above[depth:]
        tree[match[2]] = (above[-1] if above else None, match[3] or "")
        above.append(match[2])
    return tree


def full(kind: type[CallError]) -> CallError:
    return kind("what happened", "POST", "/a/b", 503, "busy", 7.5, 2)


def test_drawn_tree_is_the_class_tree() -> None:
    """Every class stands in the drawing, below its own base, and nothing else does."""
    real = {kind.__name__: kind.__bases__[0].__name__ if kind is not KoreCampaignError else None for kind in ALL}
    assert {name: above for name, (above, _) in drawn_tree().items()} == real


def test_drawn_outcomes_are_the_classes_outcomes() -> None:
    """Where the drawing says NOT_SENT, MAYBE_PROCESSED or REFUSED, the class and all below it say the same."""
    said = {
        name: CallOutcome[match[1]]
        for name, (_, text) in drawn_tree().items()
        if (match := re.match(r"(NOT_SENT|MAYBE_PROCESSED|REFUSED): ", text))
    }
    assert set(said.values()) == set(CallOutcome) - {CallOutcome.ACCEPTED}
    for name, outcome in said.items():
        base = getattr(errors, name)
        for kind in CALL_ERRORS:
            if issubclass(kind, base):
                assert kind.outcome is outcome, kind


def test_invalid_request_is_a_value_error() -> None:
    assert issubclass(errors.InvalidRequestError, ValueError)


@pytest.mark.parametrize("kind", CALL_ERRORS)
def test_every_call_error_has_an_outcome_of_a_failure(kind: type[CallError]) -> None:
    assert isinstance(kind.outcome, CallOutcome)
    assert kind.outcome is not CallOutcome.ACCEPTED
    assert isinstance(kind.retryable, bool)


def test_what_can_pass() -> None:
    """A wrong certificate stays wrong, a no stays a no; all else can pass."""
    assert {kind.__name__ for kind in CALL_ERRORS if kind.retryable} == {
        "NotSentError",
        "ConnectionFailedError",
        "MaybeProcessedError",
        "ConnectionLostError",
        "ReplyTimeoutError",
        "UnreadableReplyError",
        "UnexpectedReplyError",
        "RedirectedError",
        "ServerError",
        "ThrottledError",
    }


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", CALL_ERRORS)
def test_call_errors_survive_pickle(kind: type[CallError], protocol: int) -> None:
    """Also what `after` noted later."""
    for error in (full(kind), full(kind).after(5), kind("why", "GET", "/p")):
        back = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301  our own bytes
        assert type(back) is kind
        assert back.args == error.args
        assert str(back) == str(error)
        for name in ATTRIBUTES:
            assert getattr(back, name) == getattr(error, name), name


@pytest.mark.parametrize("kind", PLAIN_ERRORS)
def test_other_errors_survive_pickle(kind: type[KoreCampaignError]) -> None:
    error = kind("what is wrong")
    back = pickle.loads(pickle.dumps(error))  # noqa: S301  our own bytes
    assert type(back) is kind
    assert back.args == ("what is wrong",)
    assert str(back) == "what is wrong"


@pytest.mark.parametrize("kind", CALL_ERRORS)
def test_copies_are_alike(kind: type[CallError]) -> None:
    error = full(kind).after(4)
    for back in (copy.copy(error), copy.deepcopy(error)):
        assert [getattr(back, name) for name in ATTRIBUTES] == [getattr(error, name) for name in ATTRIBUTES]


@pytest.mark.parametrize("kind", CALL_ERRORS)
def test_attributes_are_what_was_given(kind: type[CallError]) -> None:
    assert [getattr(full(kind), name) for name in ATTRIBUTES] == [
        "what happened",
        "POST",
        "/a/b",
        503,
        "busy",
        7.5,
        2,
    ]


@pytest.mark.parametrize("kind", CALL_ERRORS)
def test_text_tells_method_path_status_words_and_attempts(kind: type[CallError]) -> None:
    assert str(full(kind).after(3)) == "POST /a/b: 503: what happened (busy), after 3 attempts"


def test_text_leaves_out_what_is_not_there() -> None:
    assert str(CallError("no route", "GET", "/p")) == "GET /p: no route"
    assert CallError("no route", "GET", "/p").happened == "no route"
    assert CallError("said no", "GET", "/p", 400, "why").happened == "400: said no (why)"


def test_after_returns_the_error_itself() -> None:
    """`raise error.after(n)` raises the caught error, not a copy without its traceback."""
    error = full(errors.ServerError)
    assert error.after(9) is error
    assert error.attempts == 9
    assert error.args[-2:] == (9, True)
