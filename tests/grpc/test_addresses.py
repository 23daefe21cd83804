"""What is an address of a server, and what is none."""

import pytest

from lep6.errors import InvalidAddress
from lep6.grpc import Address
from lep6.grpc.dial import listening_place


@pytest.mark.parametrize(
    ("text", "host", "port", "tls"),
    [
        ("example.org", "example.org", 9090, False),
        ("example.org:4444", "example.org", 4444, False),
        ("example.org:443", "example.org", 443, True),
        ("example.org/", "example.org", 9090, False),
        ("EXAMPLE.org", "example.org", 9090, False),
        ("example.org.:1", "example.org.", 1, False),
        ("a_b-c.example", "a_b-c.example", 9090, False),
        ("localhost:65535", "localhost", 65_535, False),
        ("10.0.0.1:0443", "10.0.0.1", 443, True),
        ("10.0.0.1", "10.0.0.1", 9090, False),
        (f"{'a' * 63}.org", f"{'a' * 63}.org", 9090, False),
        ("https://example.org", "example.org", 443, True),
        ("grpcs://example.org", "example.org", 443, True),
        ("tls://example.org", "example.org", 443, True),
        ("https://example.org:8443/", "example.org", 8443, True),
        ("https://example.org:9090", "example.org", 9090, True),
        ("http://example.org", "example.org", 9090, False),
        ("grpc://example.org", "example.org", 9090, False),
        ("tcp://example.org", "example.org", 9090, False),
        ("http://example.org:443", "example.org", 443, False),
        ("[::1]", "::1", 9090, False),
        ("[::1]:443", "::1", 443, True),
        ("[2001:db8::7]:50051", "2001:db8::7", 50_051, False),
        ("[::ffff:10.0.0.1]:1", "::ffff:10.0.0.1", 1, False),
        ("https://[::1]", "::1", 443, True),
        ("http://[::1]:443/", "::1", 443, False),
    ],
)
def test_an_address_says_where_the_server_is_and_whether_tls_is_spoken(text, host, port, tls):
    assert Address.parse(text) == Address(host, port, tls)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ":9090",
        "/",
        "http://",
        "://example.org",
        "ftp://example.org",
        "HTTP://example.org",
        "unix:///run/socket",
        "dns:///example.org",
        "http://http://example.org",
        "example.org:",
        "example.org:0",
        "example.org:00000",
        "example.org:65536",
        "example.org:123456",
        "example.org:-1",
        "example.org:http",
        "example.org:80:81",
        "example.org:\u0661",
        "example.org:80\n",
        "example.org\n",
        " example.org",
        "exam ple.org",
        "example.org/path",
        "example.org:80//",
        "example.org?x=y",
        "user@example.org",
        "*.example.org",
        "ex\u00e4mple.org",
        "example..org",
        ".example.org",
        "example.org..",
        ".",
        "-example.org",
        "example-.org",
        f"{'a' * 64}.org",
        ".".join(["a" * 63] * 4),
        "::1",
        "2001:db8::7",
        "::1:9090",
        "[::1",
        "::1]",
        "[]",
        "[]:80",
        "[::1]9090",
        "[::1]:",
        "[::1]:0",
        "[::1]:65536",
        "[[::1]]",
        "[:::1]",
        "[1:2:3:4:5:6:7:8:9]",
        "[::12345]",
        "[::1%eth0]",
        "[10.0.0.1]:80",
        "[example.org]:80",
    ],
)
def test_what_is_no_address_is_refused_in_its_own_words(text):
    with pytest.raises(InvalidAddress) as refused:
        Address.parse(text)
    assert repr(text)[:100] in str(refused.value)


def test_only_so_much_of_a_long_text_is_repeated():
    with pytest.raises(InvalidAddress) as refused:
        Address.parse("?" * 1_000_000)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("text", "authority"),
    [
        ("example.org", "example.org:9090"),
        ("Example.org:4444", "example.org:4444"),
        ("https://example.org", "example.org:443"),
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("[::1]", "[::1]:9090"),
        ("tls://[2001:db8::7]:1/", "[2001:db8::7]:1"),
    ],
)
def test_an_authority_names_the_host_and_always_the_port(text, authority):
    assert Address.parse(text).authority == authority


@pytest.mark.parametrize("text", ["example.org", "example.org:1", "https://example.org", "[::1]:443", "[::1]:5"])
def test_an_authority_is_an_address_of_the_same_place(text):
    address = Address.parse(text)
    again = Address.parse(address.authority)
    assert (again.host, again.port) == (address.host, address.port)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:65535", ("::1", 65_535)),
    ],
)
def test_a_place_to_listen_has_a_host_and_a_port_which_may_be_any(text, place):
    assert listening_place(text) == place


@pytest.mark.parametrize("text", ["", "localhost", ":1", "::1:1", "[::1]", "localhost:65536", "localhost:-1", "a b:1"])
def test_what_is_no_place_to_listen_is_refused(text):
    with pytest.raises(InvalidAddress, match="is not host:port"):
        listening_place(text)
