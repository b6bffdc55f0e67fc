"""The sandbox's aiohttp application: routes, token check, documented limits, jobs that become records later."""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets
import time
import uuid
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import Any, Final, Self

import jwt
import orjson
from aiohttp import web
from attrs import Attribute, Factory, define, field, setters

from kore_campaign_async.sandbox.faults import QUEUED_WORDS, RATE_LIMIT_WORDS, Fault, error_body

_LISTS_AN_ACCOUNT: Final = 1000
_CONTACTS_A_LIST: Final = 1_000_000
_COLUMNS_A_CONTACT: Final = 150
_CHARACTERS_A_VALUE: Final = 300
_BAD_TOKEN: Final = "Invalid JWT token"  # noqa: S105  what the API says of one
_BAD_CREDENTIALS: Final = "Invalid SDK credentials"
_BAD_TOKEN_CODE: Final = 4002
_USER: Final = "u-5a0db0c5-0000-5000-8000-000000000000"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@define
class StoredList:
    """A contact list as the sandbox keeps it.

    Attributes:
        about: the API's own object, as a full read answers it.
        records: how often each number stands on the list, once its job is done.
        contacts: the stored contacts, in the order of their jobs.
        queued: how many contacts wait in jobs.
    """

    about: dict[str, Any]
    records: Counter[str] = field(factory=Counter)
    contacts: list[dict[str, Any]] = field(factory=list)
    queued: int = 0

    @property
    def allows_duplicates(self) -> bool:
        """Whether the list keeps a number that it already has."""
        return bool(self.about["allowDuplicates"])


def _rules(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    return tuple(faults)


def _count_anew(sandbox: Sandbox, _attribute: Attribute[Any], faults: tuple[Fault, ...]) -> tuple[Fault, ...]:
    sandbox._waited = [0] * len(faults)  # noqa: SLF001  a part of the class, which attrs wants outside
    return faults


@define(kw_only=True)
class Sandbox:
    """One application of one account, served on loopback.

    Use it as `async with Sandbox() as sandbox:`; `sandbox.environment` holds the variables of its clients.

    Attributes:
        port: 0 takes a free one; `url` tells which.
        rate: calls and seconds of the account's sliding window; None is no limit.
        job_seconds: how long a queued job takes to become records.
        max_body_bytes: a larger body is answered with 413.
        algorithm: the signing algorithm that the app is set to.
        verify_key: the public key for RS algorithms; else the client secret verifies.
        enforce_jti: refuse a token without a `jti`, or with one that came before.
        faults: each rule hits every so many calls of addContacts that the token check and the rate limit
            let through. Where several are due at once the first is shown, and the others wait for the next
            call. They can be set anew at any time, and count from there.
        faults_shown: how often each kind of fault was shown.
        calls: how many calls arrived, by endpoint, refused ones included.
        throttled: how many calls the rate limit refused.
        worst_window: the most calls that arrived within any window of the rate, refused ones included.
        lists: by id.
    """

    port: int = 0
    rate: tuple[int, float] | None = (60, 60.0)
    job_seconds: float = 0.5
    max_body_bytes: int = 16 << 20
    algorithm: str = "HS256"
    verify_key: str | None = None
    enforce_jti: bool = False
    faults: tuple[Fault, ...] = field(default=(), converter=_rules, on_setattr=[setters.convert, _count_anew])
    app_id: str = "st-0603182c-7ffb-53c3-b307-47ca14b90000"
    account_id: str = "67777ce93e25326494e90000"
    client_id: str = "cs-5a0db0c5-0000-5000-8000-000000000001"
    client_secret: str = field(factory=lambda: secrets.token_urlsafe(32), repr=False)

    lists: dict[str, StoredList] = field(factory=dict, init=False, repr=False)
    calls: Counter[str] = field(factory=Counter, init=False)
    throttled: int = field(default=0, init=False)
    worst_window: int = field(default=0, init=False)
    faults_shown: Counter[str] = field(factory=Counter, init=False)
    _arrivals: deque[float] = field(factory=deque, init=False, repr=False)  # that the rate limit let through
    _all_arrivals: deque[float] = field(factory=deque, init=False, repr=False)
    _seen_jti: set[str] = field(factory=set, init=False, repr=False)
    _jobs: dict[asyncio.TimerHandle, Callable[[], None]] = field(factory=dict, init=False, repr=False)
    # Of each rule: the calls since it was due the last time.
    _waited: list[int] = field(
        default=Factory(lambda it: [0] * len(it.faults), takes_self=True), init=False, repr=False
    )
    _misused: set[asyncio.Transport] = field(factory=set, init=False, repr=False)
    _runner: web.AppRunner | None = field(default=None, init=False, repr=False)
    _address: str = field(default=Factory(str), init=False, repr=False)

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=self.max_body_bytes, middlewares=[self._gatekeeper()])
        v1 = "/agentassist/api/v1/public/{iid}/campaign/contactList"
        v2 = "/campaign/api/v2/public/{iid}/campaign/contactList"
        application.add_routes(
            [
                web.post(f"{v1}/createContactList", self._create, name="createContactList"),
                web.put(f"{v1}/{{contactListId}}", self._update, name="updateContactList"),
                web.post(f"{v2}/getAllListDetails", self._get_all, name="getAllListDetails"),
                web.get(f"{v2}/{{contactListId}}", self._get_one, name="getContactList"),
                web.post("/api/1.1/public/{iid}/campaign/contactList/addContacts", self._add, name="addContacts"),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        try:
            await site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        self._address = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        for job in self._jobs:
            job.cancel()
        # What hangs or drips would do so for as long as its client has patience.
        for transport in self._misused:
            transport.abort()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where the sandbox is served."""
        return self._address

    @property
    def environment(self) -> dict[str, str]:
        """The variables that a client of this sandbox reads."""
        return {
            "KORE_HOST": self.url,
            "KORE_APP_ID": self.app_id,
            "KORE_ACCOUNT_ID": self.account_id,
            "KORE_CLIENT_ID": self.client_id,
            "KORE_CLIENT_SECRET": self.client_secret,
        }

    def named(self, name: str) -> StoredList:
        """The list of this name; the first made where there are several."""
        return next(one for one in self.lists.values() if one.about["name"] == name)

    def make_list(self, name: str, description: str = "-", *, allow_duplicates: bool = False) -> StoredList:
        """Make a list without a call."""
        now = _timestamp()
        made = StoredList(
            {
                "isActive": True,
                "name": name,
                "description": description,
                "totalRecordCount": 0,
                "status": "Ready",
                "createdBy": _USER,
                "updatedBy": _USER,
                "mapping": {
                    "firstName": "firstName",
                    "lastName": "lastName",
                    "phoneNumber": "phoneNumber",
                    "timeZone": "timeZone",
                    "uniqueId": "uniqueId",
                },
                "isListInUse": False,
                "listType": "call",
                "campaignInUse": [],
                "source": "passiveApi",
                "apiConfigurations": {"dataSyncMode": "allowDuplicates"} if allow_duplicates else {},
                "files": [],
                "createdAt": now,
                "updatedAt": now,
                "_id": f"cl-{uuid.uuid4()}",
                "allowDuplicates": allow_duplicates,
            }
        )
        self.lists[made.about["_id"]] = made
        return made

    def stored_times(self, number: str) -> int:
        """How often a number stands on the lists, all of them together; a plus makes no difference."""
        return sum(one.records[number.removeprefix("+")] for one in self.lists.values())

    async def settle(self) -> None:
        """Finish all jobs that are queued, now."""
        for job, finish in tuple(self._jobs.items()):
            job.cancel()
            finish()

    def _gatekeeper(self) -> Any:
        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            name = request.match_info.route.name
            if name is None:
                wrong = request.match_info.http_exception
                if _is_api(request) and wrong is not None and wrong.status == HTTPStatus.METHOD_NOT_ALLOWED:
                    return _json(405, "Method Not Allowed")
                return _says(404, "Not found")
            self.calls[name] += 1
            refusal = self._unauthorized(request) or self._over_limit()
            if refusal is not None:
                # Read what was sent all the same, so that closing is not a reset.
                await request.read()
                return refusal
            try:
                return await handler(request)
            except web.HTTPRequestEntityTooLarge:
                return _says(413, "request entity too large")
            except _BadRequestError as error:
                words = str(error)
                return _names_error(400, words, 400) if _is_api(request) else _says(400, words)

        return check

    def _unauthorized(self, request: web.Request) -> web.Response | None:
        refused = self._refused(request)
        if refused is None:
            return None
        status, words, documented = refused
        # Only of these paths it is known how they say it.
        return (
            _names_error(401, documented, _BAD_TOKEN_CODE) if documented and _is_api(request) else _says(status, words)
        )

    def _refused(self, request: web.Request) -> tuple[int, str, str] | None:
        """Why a caller is not let in: a status and words, and the documented words where there are some."""
        try:
            claims = jwt.decode(
                request.headers.get("auth", ""),
                self.verify_key or self.client_secret,
                algorithms=[self.algorithm],
                options={"require": ["sub", "appId", *(["jti"] if self.enforce_jti else [])]},
            )
        except jwt.PyJWTError as error:
            documented = _BAD_TOKEN if request.headers.get("auth") else _BAD_CREDENTIALS
            return 401, f"Invalid token: {type(error).__name__}", documented
        if claims["appId"] != self.client_id:
            return 401, "Invalid token: unknown appId", _BAD_CREDENTIALS
        if self.enforce_jti:
            if claims["jti"] in self._seen_jti:
                return 401, "Invalid token: jti was used before", _BAD_TOKEN
            self._seen_jti.add(claims["jti"])
        if request.match_info["iid"] != self.app_id or request.headers.get("iid") != self.app_id:
            return 403, "The token is not valid for this iid", _BAD_CREDENTIALS
        if request.headers.get("accountId") != self.account_id:
            return 403, "The token is not valid for this accountId", ""
        return None

    def _over_limit(self) -> web.Response | None:
        if self.rate is None:
            return None
        calls, seconds = self.rate
        now = time.monotonic()
        self._all_arrivals.append(now)
        for arrivals in (self._arrivals, self._all_arrivals):
            while arrivals and arrivals[0] <= now - seconds:
                arrivals.popleft()
        self.worst_window = max(self.worst_window, len(self._all_arrivals))
        if len(self._arrivals) >= calls:
            self.throttled += 1
            return _says(429, RATE_LIMIT_WORDS)
        self._arrivals.append(now)
        return None

    async def _create(self, request: web.Request) -> web.Response:
        body = await _json_object(request)
        name = _text(body, "name", 48)
        description = _text(body, "description", 256)
        if body.get("source") not in {"passiveApi", "passiveApiIntegration"}:
            raise _BadRequestError("source must be passiveApi")
        allow = body.get("allowDuplicates", False)
        if not isinstance(allow, bool):
            raise _BadRequestError("allowDuplicates must be a boolean")
        if len(self.lists) >= _LISTS_AN_ACCOUNT:
            raise _BadRequestError("the account has the most lists it can have")
        made = self.make_list(name, description, allow_duplicates=allow)
        made.about["source"] = body["source"]
        return _success(f"Contact list {name} created successfully", made.about)

    async def _update(self, request: web.Request) -> web.Response:
        body = await _json_object(request)
        stored = self.lists.get(request.match_info["contactListId"])
        if stored is None:
            return _says(404, "Contact list not found")
        changes: dict[str, Any] = {}
        for key, limit in (("name", 48), ("description", 256)):
            if key in body:
                changes[key] = _text(body, key, limit)
        if "allowDuplicates" in body:
            if not isinstance(body["allowDuplicates"], bool):
                raise _BadRequestError("allowDuplicates must be a boolean")
            changes["allowDuplicates"] = body["allowDuplicates"]
            changes["apiConfigurations"] = {"dataSyncMode": "allowDuplicates"} if body["allowDuplicates"] else {}
        if "source" in body:
            changes["source"] = body["source"]
        stored.about.update(changes, updatedAt=_timestamp(), updatedBy=_USER)
        return _success(
            f"Contact list {stored.about['name']} updated successfully",
            {
                "contactListId": stored.about["_id"],
                "body": {
                    **{key: value for key, value in changes.items() if key != "apiConfigurations"},
                    "orgId": "o-5a0db0c5-0000-5000-8000-000000000002",
                    "iId": self.app_id,
                    "listType": "call",
                    "accountId": self.account_id,
                    "updatedBy": _USER,
                },
            },
        )

    async def _get_all(self, request: web.Request) -> web.Response:
        if request.query.get("accountId") != self.account_id:
            raise _BadRequestError("accountId is missing or wrong")
        # The listing leaves these out; only a full read tells them.
        left_out = {"isActive", "createdAt", "createdBy", "updatedBy", "allowDuplicates"}
        return _success(
            "",
            [
                {key: value for key, value in one.about.items() if key not in left_out} | {"columns": []}
                for one in self.lists.values()
            ],
        )

    async def _get_one(self, request: web.Request) -> web.Response:
        if request.query.get("accountId") != self.account_id:
            raise _BadRequestError("accountId is missing or wrong")
        stored = self.lists.get(request.match_info["contactListId"])
        if stored is None:
            return _says(404, "Contact list not found")
        return _success("", stored.about | {"isGlobalDNC": False, "isDefault": False})

    async def _add(self, request: web.Request) -> web.StreamResponse:
        fault = self._due_fault()
        if fault is None:
            return await self._queue(request)
        if fault.stores:
            answer = await self._queue(request)
            if answer.status != HTTPStatus.OK:
                return answer
        elif fault.reads_body:
            await request.read()
        self.faults_shown[fault.kind] += 1
        transport = request.transport
        if transport is None:
            return await fault.show(request)
        self._misused.add(transport)
        try:
            return await fault.show(request)
        finally:
            self._misused.discard(transport)

    def _due_fault(self) -> Fault | None:
        self._waited = [calls + 1 for calls in self._waited]
        for number, fault in enumerate(self.faults):
            if self._waited[number] >= fault.every:
                self._waited[number] -= fault.every
                return fault
        return None

    async def _queue(self, request: web.Request) -> web.Response:
        body = await _json_object(request)
        name = body.get("contact_list_name")
        stored = next((one for one in self.lists.values() if one.about["name"] == name), None)
        if stored is None:
            return _says(404, "Contact list not found")
        data = body.get("data")
        if not isinstance(data, list) or not data:
            raise _BadRequestError("data must be an array of contacts")
        for index, contact in enumerate(data):
            _check_contact(contact, index)
        if stored.about["totalRecordCount"] + stored.queued + len(data) > _CONTACTS_A_LIST:
            raise _BadRequestError("the contact list can't hold more than 1000000 contacts")
        stored.queued += len(data)
        loop = asyncio.get_running_loop()

        def finish() -> None:
            del self._jobs[job]
            _store(stored, data)

        job = loop.call_later(self.job_seconds, finish)
        self._jobs[job] = finish
        return _json(200, {"message": QUEUED_WORDS})


class _BadRequestError(Exception):
    """The documents don't allow this request."""


def _store(stored: StoredList, data: list[dict[str, Any]]) -> None:
    stored.queued -= len(data)
    for contact in data:
        number = contact["phoneNumber"].removeprefix("+")
        if stored.allows_duplicates or number not in stored.records:
            stored.contacts.append(contact)
            stored.records[number] += 1
    stored.about["totalRecordCount"] = len(stored.contacts)
    stored.about["updatedAt"] = _timestamp()


def _check_contact(contact: Any, index: int) -> None:
    if not isinstance(contact, dict):
        raise _BadRequestError(f"data[{index}] must be an object")
    number = contact.get("phoneNumber")
    if not isinstance(number, str) or not number.removeprefix("+").isdecimal():
        raise _BadRequestError(f"data[{index}].phoneNumber must be a valid number")
    if len(contact) > _COLUMNS_A_CONTACT:
        raise _BadRequestError(f"data[{index}] has more than {_COLUMNS_A_CONTACT} columns")
    for value in contact.values():
        if not isinstance(value, str):
            raise _BadRequestError(f"data[{index}] holds a value that is not a string")
        if len(value) > _CHARACTERS_A_VALUE:
            raise _BadRequestError(f"data[{index}] holds more than {_CHARACTERS_A_VALUE} characters")


async def _json_object(request: web.Request) -> dict[str, Any]:
    if request.content_type != "application/json":
        raise _BadRequestError("Content-Type must be application/json")
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        raise _BadRequestError("the body is not JSON") from None
    if not isinstance(body, dict):
        raise _BadRequestError("the body must be an object")
    return body


def _text(body: dict[str, Any], key: str, limit: int) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not 1 <= len(value) <= limit:
        raise _BadRequestError(f"{key} must have 1 to {limit} characters")
    return value


def _timestamp() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(status: int, value: Any) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json")


def _says(status: int, message: str) -> web.Response:
    return _json(status, {"message": message})


def _names_error(status: int, words: str, code: int) -> web.Response:
    return web.Response(status=status, body=error_body(words, code), content_type="application/json")


def _is_api(request: web.Request) -> bool:
    """Whether a path is one of those whose errors the vendor shows."""
    return request.path.startswith("/api/")


def _success(message: str, data: Any) -> web.Response:
    return _json(200, {"status": "success", "message": message, "data": data})
