"""Calls over TLS, and the servers that a client does not believe."""

import ssl
import subprocess
from contextlib import asynccontextmanager

import pytest
import trio

from echo_wire.echo import Note
from echo_wire.ends import Echo, Stub
from lep6.grpc import Address, Server, dial, open_channel

PATIENCE = 30.0
"""Seconds for whatever is asked of real sockets."""

CONFIG = "[req]\ndistinguished_name = name\n[name]\n"


def openssl(directory, *arguments):
    """Make a key and a certificate; `openssl` must be installed."""
    (directory / "openssl.cnf").write_text(CONFIG)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]
    command = ["openssl", "req", "-x509", "-config", "openssl.cnf", "-days", "2", *key, *arguments]
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except FileNotFoundError:
        pytest.fail("the openssl command is not installed, and makes the certificates of these tests")
    assert done.returncode == 0, done.stderr


def make_ca(directory, name):
    extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign", "subjectKeyIdentifier=hash"]
    added = [part for extension in extensions for part in ("-addext", extension)]
    openssl(directory, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem", *added)


def make_certificate(directory, name, ca, names):
    extensions = [
        "basicConstraints=critical,CA:FALSE",
        f"subjectAltName={names}",
        "subjectKeyIdentifier=hash",
        "authorityKeyIdentifier=keyid",
    ]
    added = [part for extension in extensions for part in ("-addext", extension)]
    signed = ["-CA", f"{ca}.pem", "-CAkey", f"{ca}.key"]
    openssl(directory, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem", *signed, *added)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A directory with two authorities, and servers of the first."""
    directory = tmp_path_factory.mktemp("certificates")
    make_ca(directory, "ca")
    make_ca(directory, "stranger")
    make_certificate(directory, "server", "ca", "DNS:localhost,IP:127.0.0.1")
    make_certificate(directory, "elsewhere", "ca", "DNS:elsewhere.example")
    return directory


@pytest.fixture
def trusting(certificates):
    """A context that trusts the servers' authority and no other."""
    return ssl.create_default_context(cafile=certificates / "ca.pem")


@asynccontextmanager
async def serving(wrap=None):
    """The port of a server, whose listeners are wrapped."""
    with trio.fail_after(PATIENCE):
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        served = [wrap(listener) if wrap else listener for listener in listeners]
        async with Server([Echo()]).serving(served, drain_seconds=0):
            yield port


def secured(certificates, name="server"):
    """Wraps a listener so that it speaks TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
    context.set_alpn_protocols(["h2"])
    return lambda listener: trio.SSLListener(listener, context, https_compatible=True)


async def says(port, context, host="localhost"):
    """Whether a call over TLS is answered."""
    address = Address(host, port, tls=True)
    stream = await dial(address, context=context)
    async with open_channel(stream, authority=address.authority, scheme="https") as channel:
        return await Stub(channel).say(Note("x", bytes(100_000))) == Note("x", bytes(100_000))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_call_over_tls_is_answered(host, certificates, trusting):
    async with serving(secured(certificates)) as port:
        assert await says(port, trusting, host)


async def test_many_calls_go_over_one_connection(certificates, trusting):
    async with serving(secured(certificates)) as port:
        stream = await dial(Address("localhost", port, tls=True), context=trusting)
        async with open_channel(stream) as channel, trio.open_nursery() as nursery:

            async def call(number):
                assert [note.number async for note in Stub(channel).split(Note(number=number))] == list(range(number))

            for number in range(30):
                nursery.start_soon(call, number)


async def test_both_sides_agree_on_http2(certificates, trusting):
    async with serving(secured(certificates)) as port:
        stream = await dial(Address("localhost", port, tls=True), context=trusting)
        assert stream.selected_alpn_protocol() == "h2"
        async with open_channel(stream):
            pass


async def test_a_server_that_is_not_trusted_is_not_talked_to_and_serves_others(certificates, trusting):
    other = ssl.create_default_context(cafile=certificates / "stranger.pem")
    async with serving(secured(certificates)) as port:
        with pytest.raises(trio.BrokenResourceError):
            await dial(Address("localhost", port, tls=True), context=other)
        assert await says(port, trusting)


async def test_the_systems_trust_does_not_reach_to_a_private_authority(certificates):
    async with serving(secured(certificates)) as port:
        with pytest.raises(trio.BrokenResourceError):
            await dial(Address("localhost", port, tls=True))


async def test_a_certificate_for_another_host_is_not_believed(certificates, trusting):
    async with serving(secured(certificates, "elsewhere")) as port:
        with pytest.raises(trio.BrokenResourceError):
            await dial(Address("localhost", port, tls=True), context=trusting)


async def test_a_plaintext_server_fails_the_handshake_and_serves_others(trusting):
    async with serving() as port:
        with pytest.raises(trio.BrokenResourceError):
            await dial(Address("localhost", port, tls=True), context=trusting)
        async with open_channel(await dial(Address("localhost", port, tls=False))) as channel:
            assert await Stub(channel).say(Note("x")) == Note("x")


async def test_a_server_that_hangs_up_fails_the_handshake(trusting):
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, trio.aclose_forcefully, 0)
            port = listeners[0].socket.getsockname()[1]
            with pytest.raises(trio.BrokenResourceError):
                await dial(Address("127.0.0.1", port, tls=True), context=trusting)
            nursery.cancel_scope.cancel()


async def test_a_client_that_speaks_no_tls_leaves_the_server_serving(certificates, trusting):
    async with serving(secured(certificates)) as port:
        stream = await dial(Address("localhost", port, tls=False))
        await stream.send_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        with trio.fail_after(PATIENCE):
            try:
                while await stream.receive_some():
                    pass
            except trio.BrokenResourceError:
                pass
        await stream.aclose()
        assert await says(port, trusting)


async def test_a_server_that_is_not_there_is_an_error_of_the_system(trusting):
    with trio.fail_after(PATIENCE):
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        await listeners[0].aclose()
        with pytest.raises(OSError, match="connect"):
            await dial(Address("127.0.0.1", port, tls=True), context=trusting)
