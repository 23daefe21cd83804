"""Where a peer is: what operators write, and what the chain has of a supernode."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lep6.errors import InvalidAddress
from lep6.secure_rpc import PeerAddress
from secure_rpc.parties import HEALER

ACCOUNT = HEALER.account


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("10.1.2.3:4444", "10.1.2.3", 4444),
        (" node.example.org:1 ", "node.example.org", 1),
        ("[2001:db8::1]:65535", "2001:db8::1", 65_535),
    ],
)
def test_an_address_is_an_account_at_a_place(text, host, port):
    address = PeerAddress.parse(f" {ACCOUNT} @{text}")
    assert (address.identity, address.host, address.port) == (ACCOUNT, host, port)
    assert PeerAddress.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        ACCOUNT,
        f"{ACCOUNT}@",
        "@10.1.2.3:4444",
        "10.1.2.3:4444",
        f"{ACCOUNT}@10.1.2.3",
        f"{ACCOUNT}@10.1.2.3:0",
        f"{ACCOUNT}@10.1.2.3:65536",
        f"{ACCOUNT}@10.1.2.3:x",
        f"{ACCOUNT}@2001:db8::1:4444",
        f"{ACCOUNT}@{ACCOUNT}@10.1.2.3:4444",
        f"{ACCOUNT.upper()}@10.1.2.3:4444",
        f"{ACCOUNT[:-1]}q@10.1.2.3:4444",
        f"cosmos1{ACCOUNT[7:]}@10.1.2.3:4444",
    ],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(InvalidAddress):
        PeerAddress.parse(text)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("10.1.2.3", "10.1.2.3", 4000),
        (" 10.1.2.3 ", "10.1.2.3", 4000),
        ("10.1.2.3:5555", "10.1.2.3", 5555),
        ("10.1.2.3:0", "10.1.2.3", 4000),
        ("10.1.2.3:99999", "10.1.2.3", 4000),
        ("10.1.2.3:grpc", "10.1.2.3", 4000),
        ("node.example.org", "node.example.org", 4000),
        ("https://node.example.org", "node.example.org", 4000),
        ("http://node.example.org:5555/status?a=b", "node.example.org", 5555),
        ("https://user:secret@node.example.org:5555", "node.example.org", 5555),
        ("[2001:db8::1]", "2001:db8::1", 4000),
        ("[2001:db8::1]:5555", "2001:db8::1", 5555),
        ("2001:db8::1", "2001:db8::1", 4000),
    ],
)
def test_what_the_chain_has_of_a_supernode_is_read_as_others_read_it(text, host, port):
    address = PeerAddress.registered(ACCOUNT, text, 4000)
    assert (address.identity, address.host, address.port) == (ACCOUNT, host, port)


@pytest.mark.parametrize(
    "text",
    [
        *["", " ", ":", ":4444", "https://", "https://:4444", "a b", "[::x]:1", "-:1"],
        *["https://[", "https://]:4444", "https://a\u2100b"],
        *["fe80::1%eth0", "x://fe80::1%\u00fc", f"fe80::1%{'a' * 300}", "fe80::1%\x1b[2J", "fe80::1%a b\r\nx: y"],
    ],
)
def test_a_registration_without_a_host_is_refused(text):
    with pytest.raises(InvalidAddress):
        PeerAddress.registered(ACCOUNT, text, 4000)


@given(st.text(max_size=40) | st.from_regex(r"(https?://)?[\[\]:@a-z0-9./%-]{0,30}", fullmatch=True))
def test_any_text_on_the_chain_is_an_address_or_refused(text):
    try:
        address = PeerAddress.registered(ACCOUNT, text, 4000)
    except InvalidAddress:
        return
    assert address.host.isascii()
    assert address.host.isprintable()
    assert 1 <= address.port <= 65_535
