"""The sandbox against the documents: requests written literally, so that no client shares its spelling."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from fakes import eventually

from kore_campaign_async.sandbox import Sandbox

APP = "st-0603182c-7ffb-53c3-b307-47ca14b90000"
ACCOUNT = "67777ce93e25326494e90000"
CREATE = f"/agentassist/api/v1/public/{APP}/campaign/contactList/createContactList"
ADD = f"/api/1.1/public/{APP}/campaign/contactList/addContacts"
UPDATE = f"/agentassist/api/v1/public/{APP}/campaign/contactList/"
LIST = f"/campaign/api/v2/public/{APP}/campaign/contactList/getAllListDetails?accountId={ACCOUNT}&type=call"
GET = f"/campaign/api/v2/public/{APP}/campaign/contactList/"

NEW_LIST = {
    "name": "Renewal Due - July 2025",
    "description": "Services expiring in July 2025.",
    "source": "passiveApi",
    "allowDuplicates": False,
}


class Caller:
    """Raw requests with the three headers of the documents."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox = sandbox
        self._session = session

    def token(self, secret: str | None = None, *, leave_out: str = "", **claims: Any) -> str:
        payload = {
            "sub": "a user",
            "appId": self.sandbox.client_id,
            "iat": int(time.time()),
            "exp": int(time.time()) + 60,
            "jti": str(uuid.uuid4()),
            **claims,
        }
        payload.pop(leave_out, None)
        return jwt.encode(payload, secret or self.sandbox.client_secret, algorithm="HS256")

    async def __call__(
        self, method: str, path: str, body: Any = None, headers: dict[str, str | None] | None = None
    ) -> tuple[int, dict[str, Any]]:
        given = {
            "auth": self.token(),
            "iid": APP,
            "accountId": ACCOUNT,
            "Content-Type": "application/json",
            **(headers or {}),
        }
        data = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
        async with self._session.request(
            method,
            self.sandbox.url + path,
            data=data,
            headers={name: value for name, value in given.items() if value is not None},
        ) as reply:
            assert reply.content_type == "application/json"
            return reply.status, orjson.loads(await reply.read())

    async def create(self, **changes: Any) -> dict[str, Any]:
        status, answer = await self("POST", CREATE, {**NEW_LIST, **changes})
        assert (status, answer["status"]) == (200, "success")
        data: dict[str, Any] = answer["data"]
        return data

    async def add(self, data: Any, name: str = NEW_LIST["name"]) -> tuple[int, dict[str, Any]]:
        return await self("POST", ADD, {"contact_list_name": name, "data": data})


@asynccontextmanager
async def calling(**settings: Any) -> AsyncIterator[Caller]:
    async with (
        Sandbox(**{"job_seconds": 0.01, "rate": None, **settings}) as sandbox,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
    ):
        yield Caller(sandbox, session)


@pytest.fixture
async def call() -> AsyncIterator[Caller]:
    async with calling() as caller:
        yield caller


# The endpoints


async def test_create_answers_the_whole_list(call: Caller) -> None:
    status, answer = await call("POST", CREATE, NEW_LIST)
    assert status == 200
    assert answer["status"] == "success"
    assert isinstance(answer["message"], str)
    data = answer["data"]
    assert data["_id"].startswith("cl-")
    assert data["name"] == "Renewal Due - July 2025"
    assert data["description"] == "Services expiring in July 2025."
    assert data["allowDuplicates"] is False
    assert data["source"] == "passiveApi"
    assert data["totalRecordCount"] == 0
    assert data["status"] == "Ready"
    assert data["listType"] == "call"
    assert data["createdAt"].endswith("Z")
    assert abs(dt.datetime.fromisoformat(data["createdAt"]).timestamp() - time.time()) < 60


async def test_create_takes_both_words_for_the_source(call: Caller) -> None:
    assert (await call.create(source="passiveApiIntegration"))["source"] == "passiveApiIntegration"
    status, _ = await call("POST", CREATE, {**NEW_LIST, "source": "upload"})
    assert status == 400


async def test_create_defaults_to_dropping_duplicates(call: Caller) -> None:
    body = {name: value for name, value in NEW_LIST.items() if name != "allowDuplicates"}
    _, answer = await call("POST", CREATE, body)
    assert answer["data"]["allowDuplicates"] is False


async def test_add_answers_that_the_job_is_queued_and_nothing_more(call: Caller) -> None:
    await call.create()
    status, answer = await call.add([{"phoneNumber": "9122333445566"}])
    assert (status, answer) == (200, {"message": "Adding contacts to public list is in progress"})


async def test_the_record_count_lags_behind_in_progress() -> None:
    """Queued is not added: the count moves when the job is done."""
    async with calling(job_seconds=0.4) as call:
        made = await call.create()
        await call.add([{"phoneNumber": "+14155550123"}, {"phoneNumber": "+14155550124"}])
        _, at_once = await call("GET", f"{GET}{made['_id']}?accountId={ACCOUNT}")
        assert at_once["data"]["totalRecordCount"] == 0
        stored = call.sandbox.lists[made["_id"]]
        assert (stored.queued, stored.contacts) == (2, [])
        await eventually(lambda: stored.queued == 0)
        _, later = await call("GET", f"{GET}{made['_id']}?accountId={ACCOUNT}")
        assert later["data"]["totalRecordCount"] == 2
        assert later["data"]["updatedAt"] >= at_once["data"]["updatedAt"]


async def test_jobs_that_are_not_done_end_with_the_sandbox() -> None:
    async with calling(job_seconds=60) as call:
        made = await call.create()
        await call.add([{"phoneNumber": "+14155550123"}])
        stored = call.sandbox.lists[made["_id"]]
    assert stored.contacts == []


async def test_update_changes_what_it_names_and_leaves_the_rest(call: Caller) -> None:
    made = await call.create()
    status, answer = await call("PUT", UPDATE + made["_id"], {"description": "Due in August"})
    assert (status, answer["status"]) == (200, "success")
    assert answer["data"]["contactListId"] == made["_id"]
    assert answer["data"]["body"]["description"] == "Due in August"
    assert "name" not in answer["data"]["body"]
    _, read = await call("GET", f"{GET}{made['_id']}?accountId={ACCOUNT}")
    assert read["data"]["description"] == "Due in August"
    assert read["data"]["name"] == made["name"]
    assert read["data"]["allowDuplicates"] is False


async def test_update_can_let_duplicates_in(call: Caller) -> None:
    made = await call.create()
    await call("PUT", UPDATE + made["_id"], {"allowDuplicates": True})
    _, read = await call("GET", f"{GET}{made['_id']}?accountId={ACCOUNT}")
    assert read["data"]["allowDuplicates"] is True
    assert read["data"]["apiConfigurations"] == {"dataSyncMode": "allowDuplicates"}


@pytest.mark.parametrize("method_and_path", [("PUT", UPDATE + "cl-none"), ("GET", f"{GET}cl-none?accountId={ACCOUNT}")])
async def test_an_unknown_id_is_not_found(call: Caller, method_and_path: tuple[str, str]) -> None:
    method, path = method_and_path
    status, answer = await call(method, path, {"name": "x"} if method == "PUT" else None)
    assert status == 404
    assert answer["message"]


async def test_the_listing_leaves_out_what_only_the_full_read_tells(call: Caller) -> None:
    """So a client that takes absent for false is found out."""
    first = await call.create()
    second = await call.create(name="Others", allowDuplicates=True)
    status, answer = await call("POST", LIST)
    assert (status, answer["status"], answer["message"]) == (200, "success", "")
    assert [one["_id"] for one in answer["data"]] == [first["_id"], second["_id"]]
    for one in answer["data"]:
        assert not {"isActive", "createdAt", "createdBy", "allowDuplicates"} & set(one)
        assert one["totalRecordCount"] == 0
    assert [one["apiConfigurations"] for one in answer["data"]] == [{}, {"dataSyncMode": "allowDuplicates"}]
    _, full = await call("GET", f"{GET}{second['_id']}?accountId={ACCOUNT}")
    assert full["status"] == "success"
    assert full["data"]["allowDuplicates"] is True
    assert full["data"]["isGlobalDNC"] is False
    assert full["data"]["isDefault"] is False


@pytest.mark.parametrize("path", [LIST.replace(ACCOUNT, "another"), LIST.partition("?")[0], GET + "cl-1"])
async def test_v2_wants_the_account_in_the_query_as_well(call: Caller, path: str) -> None:
    status, answer = await call("GET" if "cl-1" in path else "POST", path)
    assert status == 400
    assert "accountId" in answer["message"]


async def test_an_unknown_path_is_not_found_and_not_counted(call: Caller) -> None:
    status, _ = await call("POST", "/api/1.1/public/nothing")
    assert status == 404
    assert not call.sandbox.calls


async def test_calls_are_counted_by_endpoint(call: Caller) -> None:
    await call.create()
    await call.add([{"phoneNumber": "+14155550123"}])
    await call.add([])
    await call("POST", LIST, headers={"auth": "wrong"})
    assert call.sandbox.calls == {"createContactList": 1, "addContacts": 2, "getAllListDetails": 1}


# The token


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"secret": "another secret of at least 32 bytes"}, id="wrong secret"),
        pytest.param({"appId": "cs-another"}, id="wrong appId"),
        pytest.param({"leave_out": "appId"}, id="no appId"),
        pytest.param({"leave_out": "sub"}, id="no sub"),
        pytest.param({"exp": int(time.time()) - 60}, id="expired"),
        pytest.param({"iat": int(time.time()) + 3600}, id="not yet issued"),
    ],
)
async def test_a_wrong_token_is_not_accepted(call: Caller, claims: dict[str, Any]) -> None:
    status, answer = await call("POST", LIST, headers={"auth": call.token(**claims)})
    assert status == 401
    assert answer["message"].startswith("Invalid token")


@pytest.mark.parametrize("auth", [None, "", "nonsense", "a.b.c"])
async def test_what_is_no_token_is_not_accepted(call: Caller, auth: str | None) -> None:
    status, _ = await call("POST", LIST, headers={"auth": auth})
    assert status == 401


async def test_a_token_of_another_algorithm_is_not_accepted(call: Caller) -> None:
    claims = {"sub": "a user", "appId": call.sandbox.client_id}
    unsigned = jwt.encode(claims, "", algorithm="none")
    other = jwt.encode(claims, call.sandbox.client_secret.ljust(64, "x"), algorithm="HS512")
    for token in (unsigned, other):
        status, _ = await call("POST", LIST, headers={"auth": token})
        assert status == 401


async def test_the_token_does_not_come_as_a_bearer(call: Caller) -> None:
    status, _ = await call("POST", LIST, headers={"auth": None, "Authorization": f"Bearer {call.token()}"})
    assert status == 401


async def test_without_the_rule_a_jti_is_neither_needed_nor_used_up(call: Caller) -> None:
    token = call.token(jti="the same")
    for auth in (token, token, call.token(leave_out="jti")):
        status, _ = await call("POST", LIST, headers={"auth": auth})
        assert status == 200


async def test_where_a_jti_is_enforced_it_must_be_there_and_be_new() -> None:
    async with calling(enforce_jti=True) as call:
        status, _ = await call("POST", LIST, headers={"auth": call.token(leave_out="jti")})
        assert status == 401
        token = call.token(jti="once")
        status, _ = await call("POST", LIST, headers={"auth": token})
        assert status == 200
        status, answer = await call("POST", LIST, headers={"auth": token})
        assert status == 401
        assert "jti" in answer["message"]
        status, _ = await call("POST", LIST, headers={"auth": call.token(jti="again")})
        assert status == 200


async def test_an_app_can_be_set_to_a_key_pair() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    async with calling(algorithm="RS256", verify_key=public.decode()) as call:
        claims = {"sub": "a user", "appId": call.sandbox.client_id}
        status, _ = await call("POST", LIST, headers={"auth": jwt.encode(claims, key, algorithm="RS256")})
        assert status == 200
        status, _ = await call("POST", LIST)
        assert status == 401


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ({"iid": "st-another"}, LIST),
        ({"iid": None}, LIST),
        ({}, LIST.replace(APP, "st-another")),
        ({"accountId": "another"}, LIST),
        ({"accountId": None}, LIST),
    ],
)
async def test_a_wrong_iid_or_account_is_not_allowed(call: Caller, headers: dict[str, str | None], path: str) -> None:
    status, answer = await call("POST", path, headers=headers)
    assert status == 403
    assert answer["message"]


@pytest.mark.parametrize(
    ("headers", "path", "words"),
    [
        ({"auth": "nonsense"}, ADD, "Invalid JWT token"),
        ({"auth": None}, ADD, "Invalid SDK credentials"),
        ({"iid": "st-another"}, ADD, "Invalid SDK credentials"),
        ({}, ADD.replace(APP, "st-another"), "Invalid SDK credentials"),
    ],
)
async def test_under_api_it_is_said_in_the_documented_words(
    call: Caller, headers: dict[str, str | None], path: str, words: str
) -> None:
    assert await call("POST", path, {}, headers) == (401, {"errors": [{"msg": words, "code": 4002}]})


async def test_under_api_errors_have_the_documented_shape(call: Caller) -> None:
    answer = {"errors": [{"msg": "data must be an array of contacts", "code": 400}]}
    await call.create()
    assert await call.add([]) == (400, answer)
    assert await call("GET", ADD) == (405, "Method Not Allowed")


# Limits


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"name": "x" * 48}, 200),
        ({"name": "x" * 49}, 400),
        ({"name": "é" * 48}, 200),
        ({"name": ""}, 400),
        ({"name": None}, 400),
        ({"description": "x" * 256}, 200),
        ({"description": "x" * 257}, 400),
        ({"description": ""}, 400),
        ({"source": None}, 400),
        ({"allowDuplicates": "false"}, 400),
    ],
)
async def test_create_holds_the_documented_limits(call: Caller, changes: dict[str, Any], status: int) -> None:
    answered, _ = await call("POST", CREATE, {**NEW_LIST, **changes})
    assert answered == status
    assert len(call.sandbox.lists) == (status == 200)


async def test_a_misspelt_name_is_no_name(call: Caller) -> None:
    """`name1` stands in the samples, and is a typing error."""
    body = {("name1" if name == "name" else name): value for name, value in NEW_LIST.items()}
    status, answer = await call("POST", CREATE, body)
    assert status == 400
    assert "name" in answer["message"]


@pytest.mark.parametrize(
    "changes", [{"name": "x" * 49}, {"description": "x" * 257}, {"allowDuplicates": 1}, {"name": ""}]
)
async def test_update_holds_the_documented_limits(call: Caller, changes: dict[str, Any]) -> None:
    made = await call.create()
    status, _ = await call("PUT", UPDATE + made["_id"], changes)
    assert status == 400
    assert call.sandbox.lists[made["_id"]].about["name"] == NEW_LIST["name"]


def wide(columns: int) -> dict[str, str]:
    return {"phoneNumber": "+14155550123", **{f"column {n}": "x" for n in range(columns - 1)}}


@pytest.mark.parametrize(
    ("contact", "status"),
    [
        (wide(150), 200),
        (wide(151), 400),
        ({"phoneNumber": "+14155550123", "note": "x" * 300}, 200),
        ({"phoneNumber": "+14155550123", "note": "x" * 301}, 400),
        ({"phoneNumber": "+14155550123", "note": 7}, 400),
        ({"phoneNumber": "+14155550123", "note": None}, 400),
        ({"phoneNumber": 14155550123}, 400),
        ({"phoneNumber": "someone"}, 400),
        ({"phoneNumber": ""}, 400),
        ({"phoneNumber": "++1415"}, 400),
        ({"phone_number": "+14155550123"}, 400),
        ("+14155550123", 400),
    ],
)
async def test_add_holds_the_documented_limits(call: Caller, contact: Any, status: int) -> None:
    """One wrong contact refuses the whole call, and its neighbours are not added."""
    await call.create()
    answered, answer = await call.add([{"phoneNumber": "+14155550100"}, contact])
    assert answered == status
    if status == 400:
        assert "data[1]" in answer["errors"][0]["msg"]
        assert call.sandbox.named(NEW_LIST["name"]).queued == 0


@pytest.mark.parametrize("data", [[], None, {}, "x"])
async def test_add_wants_contacts(call: Caller, data: Any) -> None:
    await call.create()
    status, _ = await call.add(data)
    assert status == 400


async def test_add_wants_a_list_that_is_there(call: Caller) -> None:
    status, answer = await call.add([{"phoneNumber": "+14155550123"}], "Nobody's")
    assert status == 404
    assert answer["message"] == "Contact list not found"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe"])
@pytest.mark.parametrize("path", [CREATE, ADD])
async def test_a_body_that_is_no_object_is_refused(call: Caller, path: str, body: bytes) -> None:
    status, _ = await call("POST", path, body)
    assert status == 400


async def test_the_content_type_must_be_json(call: Caller) -> None:
    status, answer = await call("POST", CREATE, NEW_LIST, {"Content-Type": "text/plain"})
    assert status == 400
    assert "Content-Type" in answer["message"]


async def test_a_list_holds_a_million_contacts_and_no_more(call: Caller) -> None:
    """Those that wait in jobs are counted as well."""
    made = await call.create()
    stored = call.sandbox.lists[made["_id"]]
    stored.about["totalRecordCount"] = 999_998
    assert (await call.add([{"phoneNumber": "+14155550123"}] * 3))[0] == 400
    assert (await call.add([{"phoneNumber": "+14155550123"}] * 2))[0] == 200
    assert (await call.add([{"phoneNumber": "+14155550124"}]))[0] == 400


async def test_an_account_has_a_thousand_lists_and_no_more(call: Caller) -> None:
    for number in range(999):
        call.sandbox.make_list(f"list {number}")
    await call.create()
    status, _ = await call("POST", CREATE, NEW_LIST)
    assert status == 400


async def test_a_body_over_the_bound_is_too_large() -> None:
    async with calling(max_body_bytes=1000) as call:
        await call.create()
        small = [{"phoneNumber": f"+1415555{number:04}"} for number in range(20)]
        large = [{"phoneNumber": f"+1415555{number:04}"} for number in range(60)]
        assert (await call.add(small))[0] == 200
        status, answer = await call.add(large)
        assert status == 413
        assert answer["message"]
        await eventually(lambda: len(call.sandbox.named(NEW_LIST["name"]).contacts) == 20)


async def test_a_megabyte_is_not_too_large_by_itself(call: Caller) -> None:
    """The most that a push sends at once, unless it is told otherwise."""
    await call.create()
    contacts = [{"phoneNumber": f"+1415{number:07}", "note": "x" * 300} for number in range(2900)]
    assert 900_000 < len(orjson.dumps(contacts)) < 1 << 20
    assert (await call.add(contacts))[0] == 200


# The rate limit


async def test_beyond_the_rate_a_call_is_refused_in_the_vendors_words() -> None:
    async with calling(rate=(3, 60.0)) as call:
        assert [(await call("POST", LIST))[0] for _ in range(3)] == [200] * 3
        status, answer = await call("POST", LIST)
        assert status == 429
        assert answer == {
            "message": ("You've exceeded the per-minute rate limit. Please wait for sometime before retrying.")
        }
        assert call.sandbox.throttled == 1


async def test_the_rate_is_the_accounts_over_all_endpoints() -> None:
    async with calling(rate=(3, 60.0)) as call:
        made = await call.create()
        await call.add([{"phoneNumber": "+14155550123"}])
        await call("PUT", UPDATE + made["_id"], {"name": "x"})
        for method, path in (("POST", CREATE), ("POST", ADD), ("PUT", UPDATE + made["_id"]), ("POST", LIST)):
            assert (await call(method, path, {}))[0] == 429
        assert len(call.sandbox.lists) == 1


async def test_the_rates_window_slides() -> None:
    """A slot is free again a window after its own call, not at the turn of the minute."""
    async with calling(rate=(2, 60.0)) as call:
        assert [(await call("POST", LIST))[0] for _ in range(3)] == [200, 200, 429]
        call.sandbox._arrivals[0] -= 60.0
        assert [(await call("POST", LIST))[0] for _ in range(2)] == [200, 429]


async def test_the_worst_window_is_told_with_what_was_refused() -> None:
    async with calling(rate=(2, 60.0)) as call:
        assert call.sandbox.worst_window == 0
        assert [(await call("POST", LIST))[0] for _ in range(3)] == [200, 200, 429]
        assert call.sandbox.worst_window == 3
        call.sandbox._arrivals.clear()
        call.sandbox._all_arrivals.clear()
        assert (await call("POST", LIST))[0] == 200
        assert (call.sandbox.worst_window, call.sandbox.throttled) == (3, 1)


async def test_who_has_no_token_uses_none_of_the_rate() -> None:
    async with calling(rate=(1, 60.0)) as call:
        for _ in range(3):
            assert (await call("POST", LIST, headers={"auth": "wrong"}))[0] == 401
        assert (await call("POST", LIST))[0] == 200


# Duplicates


@pytest.mark.parametrize(("allow", "kept"), [(True, 5), (False, 2)])
async def test_duplicates_are_dropped_or_kept_as_the_list_says(call: Caller, allow: bool, kept: int) -> None:
    """Within a call and across calls; a plus makes no difference."""
    made = await call.create(allowDuplicates=allow)
    await call.add([{"phoneNumber": "+14155550123"}, {"phoneNumber": "14155550123"}])
    await call.add([{"phoneNumber": "+14155550123"}, {"phoneNumber": "+14155550124", "firstName": "Ana"}])
    await call.add([{"phoneNumber": "+14155550124", "firstName": "Eve"}])
    stored = call.sandbox.lists[made["_id"]]
    await eventually(lambda: stored.queued == 0)
    assert len(stored.contacts) == kept
    assert stored.about["totalRecordCount"] == kept
    assert stored.records["14155550123"] == (3 if allow else 1)
    if not allow:
        assert stored.contacts[1]["firstName"] == "Ana"


# The sandbox itself


async def test_its_environment_names_what_a_client_needs(call: Caller) -> None:
    assert call.sandbox.environment == {
        "KORE_HOST": call.sandbox.url,
        "KORE_APP_ID": APP,
        "KORE_ACCOUNT_ID": ACCOUNT,
        "KORE_CLIENT_ID": call.sandbox.client_id,
        "KORE_CLIENT_SECRET": call.sandbox.client_secret,
    }
    assert call.sandbox.url.startswith("http://127.0.0.1:")
    assert call.sandbox.client_secret not in repr(call.sandbox)


async def test_two_sandboxes_share_nothing() -> None:
    async with calling() as one, calling() as other:
        await one.create()
        assert one.sandbox.url != other.sandbox.url
        assert one.sandbox.client_secret != other.sandbox.client_secret
        assert other.sandbox.lists == {}
        status, _ = await other("POST", LIST, headers={"auth": one.token()})
        assert status == 401


async def test_a_port_that_is_taken_is_said_so() -> None:
    async with calling() as call:
        port = int(call.sandbox.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            async with Sandbox(port=port):
                pass


def test_it_imports_nothing_else_of_the_package() -> None:
    """A misspelt field must not pass on both sides."""
    program = (
        "import sys, types\n"
        "package = types.ModuleType('kore_campaign_async')\n"
        "package.__path__ = [sys.argv[1]]\n"
        "sys.modules['kore_campaign_async'] = package\n"
        "import kore_campaign_async.sandbox\n"
        "print(*sorted(name for name in sys.modules if name.startswith('kore_campaign_async')))\n"
    )
    where = str(Path(sys.modules[Sandbox.__module__].__file__ or "").parents[1])
    done = subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-c", program, where], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == [
        "kore_campaign_async",
        "kore_campaign_async.sandbox",
        "kore_campaign_async.sandbox.faults",
        "kore_campaign_async.sandbox.server",
        "kore_campaign_async.sandbox.threaded",
    ]
