"""The account's budget for any number of processes and machines: one script on one Redis, by Redis's own clock.

Each window is a sorted set of slots by the time at which they are free. A slot is taken under a lease, which is
renewed while the call is in flight, so that the slot of a process that died is free after its lease and one window.
A Redis that lost what it knew is told so by whoever took slots before, by a run id that is not the one that the state
was written under, or by the state itself, which counts the slots of each window: one that evicts keys can lose a part
of it. Then nothing goes out for one window.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from kore_campaign_async.budget import Clock, Sleep, held_seconds
from kore_campaign_async.config import RateLimit
from kore_campaign_async.errors import InvalidRequestError, SharedRateError

logger = logging.getLogger("kore_campaign_async")

# Long enough that a busy event loop renews in time, and never beyond a window.
_LEASE_SECONDS: Final = 15.0
_TIMEOUT_SECONDS: Final = 5.0
_PATIENCE_SECONDS: Final = 60.0
_FIRST_WAIT_SECONDS: Final = 0.05
_LONGEST_WAIT_SECONDS: Final = 2.0

_SCRIPT: Final = """
local op, known, fresh = ARGV[1], ARGV[2], ARGV[3]
local lease, gate_us, windows = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local server = redis.call('INFO', 'server')
local run = string.match(server, 'run_id:(%w+)')
local state = KEYS[1]
local held = redis.call('HMGET', state, 'epoch', 'run', 'lost', 'gate', 'last', 'begun', 'seen')
local epoch, lost, gate, last = held[1], tonumber(held[3] or nil), tonumber(held[4] or 0), tonumber(held[5] or 0)
local begun, seen = tonumber(held[6] or 0), tonumber(held[7] or now)

-- A Redis that is full can evict any key by itself, and a window without its slots would look free.
local short, there = false, false
for i = 1, windows do
  local slots = redis.call('ZCARD', KEYS[1 + i])
  there = there or slots > 0
  short = short or slots < tonumber(redis.call('HGET', state, 'slots ' .. KEYS[1 + i]) or 0)
end

if not epoch then
  epoch = fresh
  -- In whole seconds by the wall clock: one can be over as soon as it has begun.
  local up = math.max(0, tonumber(string.match(server, 'uptime_in_seconds:(%d+)')) - 1)
  begun = now - up * 1000000
  redis.call('HSET', state, 'epoch', epoch, 'run', run, 'begun', string.format('%d', begun))
  local evicted = tonumber(string.match(redis.call('INFO', 'stats'), 'evicted_keys:(%d+)') or 0)
  if known ~= '' or there or evicted > 0 then lost = now end
elseif held[2] ~= run then
  redis.call('HSET', state, 'run', run)
  lost = now
elseif short or (known ~= '' and known ~= epoch and not lost) then
  lost = now
end
if lost then redis.call('HSET', state, 'lost', string.format('%d', lost)) end

local limit, hold, apart = {}, {}, {}
for i = 1, windows do
  limit[i], hold[i], apart[i] = tonumber(ARGV[4 + 3 * i]), tonumber(ARGV[5 + 3 * i]), tonumber(ARGV[6 + 3 * i])
end
local names = 7 + 3 * windows

-- If nobody spoke for longer than a lease, Redis may have stood still: who is still calling gets time to renew.
redis.call('HSET', state, 'seen', string.format('%d', now))
if now - seen > lease and
  redis.call('ZCOUNT', KEYS[2], string.format('%d', seen + hold[1] + 1), string.format('%d', now)) > 0 then
  gate = math.max(gate, now + lease)
  redis.call('HSET', state, 'gate', string.format('%d', gate))
end

local function put(until_us)
  for i = 1, windows do
    local free_at = string.format('%d', until_us + hold[i])
    for j = names, #ARGV do redis.call('ZADD', KEYS[1 + i], free_at, ARGV[j]) end
  end
end

local function known_again_at()
  local at = 0
  for i = 1, windows do
    if lost then at = math.max(at, lost + hold[i]) end
    -- Who comes first after a restart can't know whether there were others. An hour would be too long to wait for that.
    if hold[i] < 61000000 then at = math.max(at, begun + hold[i]) end
  end
  return at
end

local function free_at()
  local at = math.max(gate, known_again_at())
  for i = 1, windows do
    redis.call('ZREMRANGEBYSCORE', KEYS[1 + i], '-inf', string.format('%d', now))
    local over = redis.call('ZCARD', KEYS[1 + i]) - limit[i]
    if over >= 0 then
      local slot = redis.call('ZRANGE', KEYS[1 + i], over, over, 'WITHSCORES')
      at = math.max(at, math.min(tonumber(slot[2]), now + hold[i]))
    end
    if apart[i] > 0 then at = math.max(at, last + apart[i]) end
  end
  return at
end

local function drop()
  for i = 1, windows do
    for j = names, #ARGV do redis.call('ZREM', KEYS[1 + i], ARGV[j]) end
  end
end

local granted = 0
if op == 'take' then
  drop() -- who asks again, because the first answer was lost, must not stand in its own way
  if free_at() <= now then
    granted = 1
    put(now + lease)
    last = now
    redis.call('HSET', state, 'last', string.format('%d', now))
  end
elseif op == 'renew' then
  put(now + lease)
elseif op == 'over' then
  put(now)
elseif op == 'unused' then
  drop()
elseif op == 'gate' then
  gate = math.max(gate, now + gate_us)
  redis.call('HSET', state, 'gate', string.format('%d', gate))
end

local keep = math.max(gate - now, 120000000) -- longer than any call takes, also where Redis stands still meanwhile
for i = 1, windows do keep = math.max(keep, 3 * hold[i]) end
local wait = math.max(0, free_at() - now)
for i = 1, windows do redis.call('HSET', state, 'slots ' .. KEYS[1 + i], redis.call('ZCARD', KEYS[1 + i])) end
for i = 1, windows + 1 do redis.call('PEXPIRE', KEYS[i], math.ceil(keep / 1000)) end
return {granted, wait, epoch, math.max(0, known_again_at() - now)}
"""


class RedisBudget:
    """One account's slots in Redis.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with whatever redis-py takes in it.
        shown: the same without anything secret, for messages.
        account_id: whose budget it is.
        limits: the windows; processes should agree on them.
        clock: monotonic seconds.
        sleep: an async sleep on that clock.
    """

    def __init__(
        self, url: str, shown: str, account_id: str, limits: Sequence[RateLimit], *, clock: Clock, sleep: Sleep
    ) -> None:
        self._redis: Any = None
        # Raised behind the handler, so that nothing with a password hangs on the error.
        with contextlib.suppress(ValueError, TypeError):
            self._redis = Redis.from_url(
                url,
                decode_responses=True,
                socket_timeout=_TIMEOUT_SECONDS,
                socket_connect_timeout=_TIMEOUT_SECONDS,
                retry=Retry(NoBackoff(), 0),
            )
        del url
        if self._redis is None:
            raise InvalidRequestError(f"the shared rate {shown} is no URL of a Redis, such as redis://host:6379")
        self._shown = shown
        self._clock = clock
        self._sleep = sleep
        tag = f"kore-campaign:{{{account_id}}}"
        self._keys = [f"{tag}:state", *(f"{tag}:{limit.seconds:g}" for limit in limits)]
        self._lease_seconds = min(_LEASE_SECONDS, *(limit.seconds for limit in limits))
        self._memory_seconds = 2 * max(limit.seconds for limit in limits)
        self._windows = [
            value
            for limit in limits
            for value in (
                limit.calls,
                _microseconds(held_seconds(limit)),
                _microseconds(limit.seconds / limit.calls) if limit.even else 0,
            )
        ]
        self._script = self._redis.register_script(_SCRIPT)
        self._me = secrets.token_hex(8)
        self._numbers = itertools.count(1)
        self._epoch = ""
        self._heard_at: float | None = None
        self._free_at = 0.0
        self._failing_since: float | None = None
        self._said_until = 0.0
        self._out: set[str] = set()
        self._renewing: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Future[Any]] = set()

    async def take(self) -> str:
        """Wait for a slot, and return its name.

        Raises:
            SharedRateError: Redis can't be reached: at the first call at once, later after a minute.
        """
        name = f"{self._me}:{next(self._numbers)}"
        wait = self._free_at - self._clock()
        while True:
            if wait > 0:
                await self._sleep(wait)
            why = ""
            try:
                granted, wait = await self._asked(name)
            except (RedisError, OSError) as error:
                why = str(error).rstrip(".") or type(error).__name__
            if why:
                wait = self._patience(why)
            elif granted:
                return name

    def _patience(self, why: str) -> float:
        """How long to wait before Redis is asked again, after it could not be reached."""
        now = self._clock()
        failing_seconds = 0.0 if self._failing_since is None else now - self._failing_since
        if self._heard_at is None or failing_seconds > _PATIENCE_SECONDS:
            raise SharedRateError(
                f"the shared rate at {self._shown} can't be reached: {why}; start it, or leave the shared rate out"
            )
        if self._failing_since is None:
            self._failing_since = now
            logger.warning("the shared rate at %s can't be reached, and is waited for", self._shown)
        return min(_LONGEST_WAIT_SECONDS, max(_FIRST_WAIT_SECONDS, failing_seconds))

    async def _asked(self, name: str) -> tuple[bool, float]:
        asking = asyncio.ensure_future(self._say("take", name))
        try:
            granted, wait = await asyncio.shield(asking)
        except asyncio.CancelledError:
            # Redis may grant it all the same.
            self._tell(self._taken_back(asking, name))
            raise
        if granted:
            self._out.add(name)
            if self._renewing is None:
                self._renewing = asyncio.ensure_future(self._renew())
        return granted, wait

    async def _taken_back(self, asking: asyncio.Future[tuple[bool, float]], name: str) -> None:
        with contextlib.suppress(RedisError, OSError):
            await asking
        await self._say("unused", name)

    def give_back(self, slot: str, *, used: bool) -> None:
        """Say that a slot's call is over, or that it was never used."""
        self._out.discard(slot)
        if not self._out and self._renewing is not None:
            self._renewing.cancel()
            self._renewing = None
        self._tell(self._say("over" if used else "unused", slot))

    def close_gate(self, seconds: float) -> None:
        """Let no call of any process out for this long from now."""
        self._tell(self._say("gate", gate_seconds=seconds))

    async def close(self) -> None:
        """Say what is still to be said, and hang up."""
        if self._renewing is not None:
            self._renewing.cancel()
        if self._telling:
            await asyncio.wait(self._telling, timeout=_TIMEOUT_SECONDS)
        for task in self._telling:
            task.cancel()
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()

    async def _renew(self) -> None:
        while True:
            await self._sleep(self._lease_seconds / 3)
            await asyncio.wait({self._tell(self._say("renew", *self._out))})

    def _tell(self, message: Any) -> asyncio.Future[Any]:
        """Say something that nobody depends on: a slot that Redis does not hear of is free after its lease."""
        task: asyncio.Future[Any] = asyncio.ensure_future(message)
        self._telling.add(task)
        task.add_done_callback(self._told)
        return task

    def _told(self, task: asyncio.Future[Any]) -> None:
        self._telling.discard(task)
        if not task.cancelled() and isinstance(task.exception(), Exception):
            logger.debug("the shared rate at %s did not hear of the end of a call", self._shown)

    async def _say(self, operation: str, *slots: str, gate_seconds: float = 0.0) -> tuple[bool, float]:
        began = self._clock()
        # What was taken longer ago is in no window any more, and Redis may have forgotten it with good reason.
        known = self._epoch if self._heard_at is not None and began - self._heard_at < self._memory_seconds else ""
        granted, wait, self._epoch, forgotten = await self._script(
            keys=self._keys,
            args=[
                operation,
                known,
                secrets.token_hex(8),
                _microseconds(self._lease_seconds),
                _microseconds(gate_seconds),
                len(self._keys) - 1,
                *self._windows,
                *slots,
            ],
        )
        self._heard_at, self._failing_since = self._clock(), None
        if forgotten and self._heard_at >= self._said_until:
            self._said_until = self._heard_at + forgotten / 1e6
            logger.warning(
                "the Redis at %s lost what went out before, or was started anew: no call for %.0f s",
                self._shown,
                forgotten / 1e6,
            )
        self._free_at = self._heard_at + wait / 1e6
        return bool(granted), wait / 1e6


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)
