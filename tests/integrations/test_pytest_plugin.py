"""The plugin as other projects meet it: their tests, in a pytest of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

SERVICE = """
import asyncio
from kore_campaign_async import CampaignClient, ingest_contacts


async def enrol(environ, numbers):
    async with CampaignClient.from_env(environ) as client:
        return await ingest_contacts(client, numbers, contact_list="Renewals")


def enrol_in_a_loop_of_its_own(environ, numbers):
    return asyncio.run(enrol(environ, numbers))
"""

PYTEST_ASYNCIO = ("-o", "asyncio_default_fixture_loop_scope=function", "-o")
NO_PLUGINS = ("-p", "no:asyncio", "-p", "no:anyio", "-p", "no:xdist", "-p", "no:hypothesispytest")


def outcome(pytester: pytest.Pytester, tests: str, *arguments: str) -> pytest.RunResult:
    """Run these tests in a process of their own, where every warning is an error."""
    pytester.makepyfile(service=SERVICE, test_service=tests)
    return pytester.runpytest_subprocess("-W", "error", "--strict-markers", "-p", "no:cacheprovider", *arguments)


def test_a_sync_test_of_a_service_that_runs_its_own_loop(pytester: pytest.Pytester) -> None:
    """No async plugin is needed; the service may run in this thread or in another one."""
    result = outcome(
        pytester,
        """
        import threading
        from service import enrol_in_a_loop_of_its_own

        def test_here(kore_sandbox):
            kore_sandbox.make_list("Renewals")
            report = enrol_in_a_loop_of_its_own(kore_sandbox.environment, ["+14155550101", "+14155550102"])
            assert report.counts.accepted == 2
            found = kore_sandbox.contacts("Renewals")
            assert [one["phoneNumber"] for one in found] == ["+14155550101", "+14155550102"]
            assert kore_sandbox.stored_times("+14155550101") == 1
            assert kore_sandbox.calls["addContacts"] == 1

        def test_there(kore_sandbox):
            assert not kore_sandbox.calls  # each test has one of its own
            kore_sandbox.make_list("Renewals")
            thread = threading.Thread(
                target=enrol_in_a_loop_of_its_own, args=(kore_sandbox.environment, ["+14155550103"])
            )
            thread.start()
            thread.join()
            assert kore_sandbox.stored_times("14155550103") == 1
        """,
        *NO_PLUGINS,
    )
    result.assert_outcomes(passed=2)


def test_a_service_in_a_process_of_its_own(pytester: pytest.Pytester) -> None:
    result = outcome(
        pytester,
        """
        import os, subprocess, sys

        def test_it(kore_sandbox):
            kore_sandbox.make_list("Renewals")
            script = (
                "from kore_campaign_async import run_ingest\\n"
                "print(run_ingest(['+14155550101'], contact_list='Renewals').counts.accepted)"
            )
            done = subprocess.run(
                [sys.executable, "-c", script], env={**os.environ, **kore_sandbox.environment}, capture_output=True
            )
            assert done.stdout == b"1\\n", done.stderr
            assert kore_sandbox.stored_times("+14155550101") == 1
        """,
        *NO_PLUGINS,
    )
    result.assert_outcomes(passed=1)


ASYNC_TESTS = """
import pytest
from kore_campaign_async import Contact, ServerError
from kore_campaign_async.sandbox import Fault
from service import enrol

# the plugin's mark

async def test_the_client(kore_client, kore_sandbox):
    made = await kore_client.create_contact_list("Renewals", "Due in July")
    await kore_client.add_contacts("Renewals", [Contact("+14155550101", first_name="Ana")])
    assert kore_sandbox.contacts("Renewals") == [{"phoneNumber": "+14155550101", "firstName": "Ana"}]
    assert [one.id for one in await kore_client.list_contact_lists()] == [made.id]


async def test_the_service(kore_sandbox):
    kore_sandbox.make_list("Renewals")
    assert (await enrol(kore_sandbox.environment, ["+14155550101"])).counts.accepted == 1


@pytest.mark.kore_sandbox(faults=[Fault("503")])
async def test_faults(kore_client, kore_sandbox):
    kore_sandbox.make_list("Renewals", allow_duplicates=True)
    with pytest.raises(ServerError):
        await kore_client.add_contacts("Renewals", [Contact("+14155550101")])
    kore_sandbox.faults = [Fault("close-stored")]
    report = await enrol(kore_sandbox.environment, ["+14155550102"])
    assert (report.counts.uncertain, report.counts.accepted) == (1, 0)
    kore_sandbox.faults = []
    await kore_client.add_contacts("Renewals", [Contact("+14155550103")])
    assert kore_sandbox.faults_shown == {"503": 1, "close-stored": 1}
    assert [kore_sandbox.stored_times(f"+1415555010{n}") for n in (1, 2, 3)] == [0, 1, 1]


@pytest.mark.kore_sandbox(rate=(3, 60.0))
async def test_the_rate(kore_client, kore_sandbox):
    assert kore_sandbox.environment["KORE_RATE"] == "3/60"
    for _ in range(3):
        await kore_client.list_contact_lists()
    assert (kore_sandbox.worst_window, kore_sandbox.throttled) == (3, 0)
"""


@pytest.mark.parametrize(
    ("mark", "arguments"),
    [
        ("", ("-p", "no:anyio", *PYTEST_ASYNCIO, "asyncio_mode=auto")),
        ("pytestmark = pytest.mark.asyncio", ("-p", "no:anyio", *PYTEST_ASYNCIO, "asyncio_mode=strict")),
        (
            "pytestmark = pytest.mark.anyio\n@pytest.fixture\ndef anyio_backend(): return 'asyncio'",
            ("-p", "no:asyncio"),
        ),
        (
            "pytestmark = pytest.mark.anyio\n@pytest.fixture\ndef anyio_backend(): return 'asyncio'",
            (*PYTEST_ASYNCIO, "asyncio_mode=strict"),
        ),
    ],
    ids=["pytest-asyncio, auto", "pytest-asyncio, strict", "anyio", "anyio beside pytest-asyncio"],
)
def test_async_tests_by_every_plugin(mark: str, arguments: tuple[str, ...], pytester: pytest.Pytester) -> None:
    """Warnings are errors there: nothing is left unclosed."""
    outcome(pytester, ASYNC_TESTS.replace("# the plugin's mark", mark), *arguments).assert_outcomes(passed=4)


def test_the_client_in_a_sync_test(pytester: pytest.Pytester) -> None:
    """It serves the loop that it is first used in, and says so in another one."""
    result = outcome(
        pytester,
        """
        import asyncio, pytest
        from kore_campaign_async import InvalidRequestError

        def test_it(kore_client, kore_sandbox):
            kore_sandbox.make_list("Renewals")
            assert len(asyncio.run(kore_client.list_contact_lists())) == 1
            with pytest.raises(InvalidRequestError, match="another event loop"):
                asyncio.run(kore_client.list_contact_lists())

        def test_it_is_not_used(kore_client):
            pass
        """,
        *NO_PLUGINS,
    )
    result.assert_outcomes(passed=2)


def test_a_call_that_a_test_leaves_in_flight_is_ended(pytester: pytest.Pytester) -> None:
    result = outcome(
        pytester,
        """
        import asyncio, pytest
        from kore_campaign_async import Contact
        from kore_campaign_async.sandbox import Fault

        @pytest.mark.kore_sandbox(faults=[Fault("hang")])
        async def test_it(kore_client, kore_sandbox):
            kore_sandbox.make_list("Renewals")
            task = asyncio.create_task(kore_client.add_contacts("Renewals", [Contact("+14155550101")]))
            while not kore_sandbox.calls:
                await asyncio.sleep(0.001)
            kore_client.left = task
        """,
        *("-p", "no:anyio", *PYTEST_ASYNCIO, "asyncio_mode=auto"),
    )
    result.assert_outcomes(passed=1)


def test_what_a_test_asks_for_is_told_where_it_is_wrong(pytester: pytest.Pytester) -> None:
    result = outcome(
        pytester,
        """
        import pytest
        from kore_campaign_async.sandbox import SandboxThread

        def test_a_list(kore_sandbox):
            kore_sandbox.make_list("Renewals")
            with pytest.raises(LookupError, match="no list named 'renewals'; it has: 'Renewals'"):
                kore_sandbox.contacts("renewals")

        def test_a_port_that_is_taken(kore_sandbox):
            with pytest.raises(OSError), SandboxThread(port=int(kore_sandbox.url.rpartition(":")[2])):
                pass

        def test_not_running():
            with pytest.raises(RuntimeError, match="the sandbox is not running"):
                SandboxThread().make_list("Renewals")

        def test_threads(kore_sandbox):
            import threading
            assert "kore sandbox" in [one.name for one in threading.enumerate()]

        def test_no_threads():
            import threading
            assert "kore sandbox" not in [one.name for one in threading.enumerate()]
        """,
        *NO_PLUGINS,
    )
    result.assert_outcomes(passed=5)


def test_the_plugin_costs_nothing_where_it_is_not_used() -> None:
    """pytest imports it in every project: beside pytest it brings only the package's own name."""
    script = (
        "import pytest, sys\n"
        "before = set(sys.modules)\n"
        "import kore_campaign_async.integrations.pytest_plugin\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)  # noqa: S603  ours
    assert not {"aiohttp", "attr", "jwt", "orjson", "tenacity"} & set(done.stdout.split())
    assert [name for name in done.stdout.split() if name.startswith("kore_")] == [
        "kore_campaign_async",
        "kore_campaign_async.integrations",
        "kore_campaign_async.integrations.pytest_plugin",
    ]
