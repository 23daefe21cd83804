"""The pages for monitoring, over real sockets: what each says, and what callers may not do."""

import json
from contextlib import asynccontextmanager
from functools import partial

import h11
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from lep6.beside import beside
from lep6.daemon import http
from lep6.daemon.checks import HANGING_SECONDS, NAMES, Checks
from lep6.daemon.http import MOST_CONNECTIONS, MOST_HEADER_BYTES, REQUEST_SECONDS, serve_http
from lep6.daemon.metrics import Metrics

PATHS = ["/livez", "/readyz", "/metrics", "/status.json"]
STATUS = {"version": 1, "account": "lumera1x"}


async def a_status():
    await trio.lowlevel.checkpoint()
    return STATUS


@asynccontextmanager
async def pages(*, status=a_status, metrics=None, checks=None):
    """A way to connect to them."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    serving = partial(
        serve_http, [listener], metrics=metrics or Metrics().render, checks=checks or Checks(), status=status
    )
    async with beside(serving):
        yield partial(trio.open_tcp_stream, "127.0.0.1", port)


async def settled() -> None:
    """Wait until what was sent over loopback has been read, and all wait for something else."""
    await trio.testing.wait_all_tasks_blocked(cushion=0)


async def said(stream) -> bytes:
    """All that comes until the other side closes."""
    return b"".join([bytes(chunk) async for chunk in stream])


async def ask(connect, request: bytes | str, *, head=False) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to raw bytes, or to a GET of a path."""
    raw = request if isinstance(request, bytes) else f"GET {request} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    async with await connect() as stream:
        await stream.send_all(raw)
        return parsed(await said(stream), head=head)


def parsed(answer: bytes, *, head=False) -> tuple[int, dict[str, str], bytes]:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="HEAD" if head else "GET", target="/", headers=[("Host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(answer)
    client.receive_data(b"")
    response, body = client.next_event(), b""
    assert isinstance(response, h11.Response)
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert isinstance(client.next_event(), h11.ConnectionClosed)
    return response.status_code, {name.decode(): value.decode() for name, value in response.headers}, body


async def test_it_is_alive_as_long_as_the_loop_turns(mock_clock):
    checks = Checks()
    async with pages(checks=checks) as connect:
        assert (await ask(connect, "/livez"))[::2] == (200, b"ok\n")
        checks.set("loop", False, "no tick")
        assert (await ask(connect, "/livez"))[0] == 200
        mock_clock.jump(HANGING_SECONDS)
        assert (await ask(connect, "/livez"))[0] == 503
        checks.set("loop", True, "a tick")
        assert (await ask(connect, "/livez"))[0] == 200


async def test_it_is_ready_when_all_checks_are_well_and_names_those_that_are_not():
    checks = Checks()
    async with pages(checks=checks) as connect:
        status, headers, body = await ask(connect, "/readyz")
        assert status == 503
        assert headers["content-type"] == "application/json"
        document = json.loads(body)
        assert document["version"] == 1
        assert document["ready"] is False
        assert document["checks"] == {name: {"ok": False, "detail": "not checked yet"} for name in NAMES}
        for name in NAMES:
            checks.set(name, True, f"{name} is fine")
        status, _, body = await ask(connect, "/readyz")
        assert (status, json.loads(body)["ready"]) == (200, True)
        checks.set("disk", False, "7 MiB free")
        status, _, body = await ask(connect, "/readyz")
        assert status == 503
        assert json.loads(body)["checks"]["disk"] == {"ok": False, "detail": "7 MiB free"}


@pytest.mark.parametrize(
    ("accept", "content_type", "end"),
    [
        ("*/*", "text/plain; version=0.0.4", b"\n"),
        ("application/openmetrics-text; version=1.0.0,*/*", "application/openmetrics-text", b"# EOF\n"),
    ],
)
async def test_metrics_come_in_the_format_that_is_asked_for(accept, content_type, end):
    async with pages() as connect:
        raw = f"GET /metrics?x=y HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n".encode()
        status, headers, body = await ask(connect, raw)
    assert status == 200
    assert headers["content-type"].startswith(content_type)
    assert b"\nlep6_ops_stuck 0.0\n" in body
    assert body.endswith(end)


async def test_the_status_is_a_document():
    async with pages() as connect:
        status, headers, body = await ask(connect, "/status.json")
        assert (status, json.loads(body)) == (200, STATUS)
        assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", PATHS)
async def test_a_head_has_the_headers_of_a_get_and_no_body(path):
    async with pages(metrics=lambda _: (b"a page", "text/plain")) as connect:
        status, headers, body = await ask(connect, f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), head=True)
        expected, of_get, full = await ask(connect, path)
    assert (status, headers | {"date": ""}, body) == (expected, of_get | {"date": ""}, b"")
    assert headers["content-length"] == str(len(full))


@pytest.mark.parametrize("target", PATHS)
async def test_a_target_may_be_a_whole_url_or_of_an_old_client(target):
    async with pages() as connect:
        for raw in (f"GET http://somewhere{target} HTTP/1.1\r\nHost: x\r\n\r\n", f"GET {target} HTTP/1.0\r\n\r\n"):
            assert (await ask(connect, raw.encode()))[0] in (200, 503)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /metrics/ HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"POST /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 405),
        (b"DELETE /status.json HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\n\r\n", 400),
        (b"hello\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 4 * MOST_HEADER_BYTES + b"\r\n\r\n", 431),
        (b"A" * 4 * MOST_HEADER_BYTES, 431),
    ],
    ids=lambda value: value[:20].decode("latin-1") if isinstance(value, bytes) else None,
)
async def test_what_is_no_request_for_a_page_is_told_so(raw, status):
    async with pages() as connect:
        answered, headers, body = await ask(connect, raw)
        assert answered == status
        assert body
        assert headers.get("allow") == ("GET, HEAD" if status == 405 else None)
        assert (await ask(connect, "/livez"))[0] == 200


@pytest.mark.parametrize("begun", [b"", b"GET /livez HTTP/1.1\r\nHost"])
async def test_who_does_not_say_what_it_wants_in_time_is_sent_away(begun, mock_clock):
    async with pages() as connect, await connect() as stream:
        await stream.send_all(begun)
        await settled()
        mock_clock.jump(REQUEST_SECONDS)
        assert parsed(await said(stream))[0] == 408


async def test_who_goes_away_leaves_nothing_behind():
    async with pages() as connect:
        for begun in (b"", b"GET /liv", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"):
            for _ in range(MOST_CONNECTIONS):
                stream = await connect()
                await stream.send_all(begun)
                await trio.aclose_forcefully(stream)
            await settled()
        assert (await ask(connect, "/livez"))[0] == 200


async def test_a_caller_that_has_sent_all_it_will_is_still_answered():
    async with pages() as connect, await connect() as stream:
        await stream.send_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        await stream.send_eof()
        assert parsed(await said(stream))[0] == 200


async def test_a_request_may_come_byte_by_byte():
    async with pages() as connect, await connect() as stream:
        for byte in b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n":
            await stream.send_all(bytes([byte]))
        assert parsed(await said(stream))[0] == 200


async def test_only_so_many_may_be_there_at_a_time():
    async with pages() as connect:
        waiting = [await connect() for _ in range(MOST_CONNECTIONS)]
        for stream in waiting:
            await stream.send_all(b"G")
        with capture_logs() as logs:
            assert await tried(connect) == ()
        assert [log["event"] for log in logs] == ["http_crowded"]
        await waiting.pop().aclose()
        await settled()
        assert (await ask(connect, "/livez"))[0] == 200
        for stream in waiting:
            await stream.aclose()


async def test_a_bug_of_one_page_is_told_and_takes_nothing_else_down():
    def broken(_):
        raise KeyError("lost")

    async with pages(metrics=broken) as connect:
        with capture_logs() as logs:
            status, _, body = await ask(connect, "/metrics")
        assert status == 500
        assert b"lost" not in body
        assert logs[0]["event"] == "http_failed"
        assert (await ask(connect, "/livez"))[0] == 200


async def test_a_status_that_hangs_is_given_up(mock_clock):
    entered = trio.Event()

    async def hang():
        entered.set()
        await trio.sleep_forever()

    async with pages(status=hang) as connect, await connect() as stream:
        await stream.send_all(b"GET /status.json HTTP/1.1\r\nHost: x\r\n\r\n")
        await entered.wait()
        mock_clock.jump(http.ANSWER_SECONDS)
        assert parsed(await said(stream))[0] == 503


async def test_a_caller_that_does_not_read_is_left(mock_clock):
    written = trio.Event()

    def big(_):
        written.set()
        return b"x" * (64 << 20), "text/plain"

    async with pages(metrics=big) as connect, await connect() as stream:
        await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        await written.wait()
        await settled()
        mock_clock.jump(http.ANSWER_SECONDS)
        await settled()
        mock_clock.jump(http.LINGER_SECONDS)
        assert len(await said(stream)) < 64 << 20


@given(
    st.binary(max_size=300)
    | st.binary(max_size=100).map(lambda junk: b"GET /" + junk + b" HTTP/1.1\r\nHost: x\r\n\r\n")
)
async def test_whatever_a_caller_says_the_next_one_is_served(junk):
    async with pages(metrics=lambda _: (b"", "text/plain")) as connect:
        async with await connect() as stream:
            await stream.send_all(junk)
            await stream.send_eof()
            answer = await said(stream)
            assert not answer or 200 <= parsed(answer, head=junk.startswith(b"HEAD "))[0] < 600
        assert (await ask(connect, "/livez"))[0] == 200


async def tried(connect) -> tuple:
    """The answer to a request; nothing where the door is shut."""
    try:
        return await ask(connect, "/livez")
    except (trio.BrokenResourceError, h11.RemoteProtocolError, AssertionError):
        return ()
