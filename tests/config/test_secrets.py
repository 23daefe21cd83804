import attrs
import pytest

from configs import GO_FILE, SECRET, loaded, sections, write
from keyrings import assert_shows_none, shown
from lep6.config import HIDDEN, Secret, load
from lep6.errors import InvalidConfig


def test_a_secret_shows_in_no_representation(tmp_path):
    config = loaded(tmp_path, GO_FILE)
    assert config.keyring.passphrase_plain.reveal() == SECRET
    for each in (config, config.keyring, config.values, attrs.asdict(config), attrs.astuple(config)):
        assert_shows_none(f"{each} {each!r}", SECRET)
    secret = Secret(SECRET)
    assert f"{secret} {secret!r}" == f"{HIDDEN} Secret({HIDDEN})"
    assert f"{Secret()}" == ""
    assert (bool(secret), bool(Secret())) == (True, False)
    assert secret == Secret(SECRET) != Secret()
    assert len({secret, Secret(SECRET)}) == 1


@pytest.mark.parametrize(
    "end", ["lep6: {threads: 0}\n", "lep6: {threads: x}\n", "lep6: {thread: 1}\n", "p2p: {}\n", "a: [\n"]
)
def test_no_error_shows_a_secret(tmp_path, end):
    path = write(tmp_path, GO_FILE + end)
    with pytest.raises(InvalidConfig) as raised:
        load(path, {})
    assert_shows_none(shown(raised.value), SECRET)


@pytest.mark.parametrize("written", [f"[{SECRET!r}]", f"{{a: {SECRET!r}}}", "99999999999999999999999"])
def test_a_secret_of_the_wrong_kind_is_not_shown(tmp_path, written):
    path = write(tmp_path, GO_FILE.replace(f'"{SECRET}"', written))
    with pytest.raises(InvalidConfig) as raised:
        load(path, {})
    assert_shows_none(shown(raised.value), SECRET, "99999999999999999999999")


def test_a_passphrase_of_digits_alone_is_a_text(tmp_path):
    config = loaded(tmp_path, GO_FILE.replace(f'"{SECRET}"', "12345678"))
    assert config.keyring.passphrase_plain.reveal() == "12345678"


@pytest.mark.parametrize(
    "address",
    [
        f"https://user:{SECRET}@host:9090",
        f"user:{SECRET}@host:9090",
        f"https://user:a/{SECRET}@host:9090",
        f"https://user:a@{SECRET}@host:9090",
        f"https://user:{SECRET}://x@host:9090",
        f"{SECRET}@host:9090",
        f"https://host:9090/v1/{SECRET}",
        f"https://user@host:9090/{SECRET}?x=http://y",
        f"host:9090?key={SECRET}",
        f"host:9090#{SECRET}",
    ],
)
@pytest.mark.parametrize("section", ["lumera", "lep6", "one text"])
def test_what_may_be_a_secret_in_an_address_is_not_shown(tmp_path, address, section):
    changed = {
        "lumera": {"lumera": {"grpc_addr": address}},
        "lep6": {"lep6": {"grpc_addrs": ["good:1", address]}},
        "one text": {"lep6": {"grpc_addrs": address}},
    }[section]
    with pytest.raises(InvalidConfig) as raised:
        loaded(tmp_path, sections(**changed))
    assert_shows_none(shown(raised.value), SECRET)
    assert section == "one text" or "host:9090" in str(raised.value)
