"""All that can be wrong with a configuration is named at once, with its key and its mend."""

import copy
import os

import pytest
import ryaml
from hypothesis import given
from hypothesis import strategies as st

from configs import GO_FILE, SECRET, loaded, sections, write
from lep6.config import Config, load
from lep6.config.file import MAX_SIZE
from lep6.config.keys import KEYS
from lep6.errors import InvalidConfig


def problems(directory, tree, environ=None):
    """Key to what and mend."""
    with pytest.raises(InvalidConfig) as raised:
        loaded(directory, tree, environ)
    found = {each.key: f"{each.what}: {each.mend}" for each in raised.value.problems}
    assert len(found) == len(raised.value.problems)
    assert all(each.what and each.mend for each in raised.value.problems)
    assert all(str(each) in str(raised.value) for each in raised.value.problems)
    return found


def changed(key, value):
    """The good file with one key changed."""
    tree = sections()
    *path, name = key.split(".")
    section = tree
    for each in path:
        section = section.setdefault(each, {})
    if value is ...:
        section.pop(name, None)
    else:
        section[name] = value
    return tree


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("supernode.key_name", ..., "missing"),
        ("supernode.identity", ..., "missing"),
        ("supernode.identity", "cosmos1xyz", "no account address"),
        ("supernode.port", ..., "missing"),
        ("supernode.port", 65536, "largest is 65535"),
        ("supernode.port", -1, "must be >= 0"),
        ("supernode.port", "4444", "not a whole number"),
        ("supernode.port", 1.5, "not a whole number"),
        ("supernode.port", True, "true, not a whole number"),
        ("supernode.gateway_port", 70000, "largest"),
        ("p2p.port", 65536, "largest"),
        ("supernode.key_name", 1.5, "quotes"),
        ("supernode.key_name", True, "quotes"),
        ("supernode.key_name", ["a"], "a list, not a text"),
        ("supernode.key_name", "a\nb", "control characters"),
        ("supernode.key_name", "a\x1bb", "control characters"),
        ("keyring.backend", ..., "write file or test"),
        ("keyring.backend", "", "write one of test, file"),
        ("keyring.backend", "os", "os, whose keys lep6 cannot read"),
        ("keyring.backend", "MEM", "memory, whose keys lep6 cannot read"),
        ("keyring.backend", "fille", "file may be meant"),
        ("keyring.backend", 5, "write one of"),
        ("keyring.passphrase_plain", [SECRET], "not a text"),
        ("lumera.grpc_addr", ..., "missing"),
        ("lumera.grpc_addr", "a b", "no address of a server"),
        ("lumera.grpc_addr", "host:99999", "no address of a server"),
        ("lumera.chain_id", ..., "missing"),
        ("lumera.gas_adjustment", 0.5, "less gas than is used"),
        ("lumera.gas_adjustment", -1.0, "must be >= 0"),
        ("lumera.gas_adjustment", float("inf"), "finite"),
        ("lumera.gas_adjustment", float("nan"), "finite"),
        ("lumera.gas_adjustment", "1.3", "not a number"),
        ("lumera.gas_adjustment_max_attempts", -1, "must be >= 0"),
        ("lumera.gas_price", "cheap", "no price"),
        ("lumera.gas_price", "-1", "no price"),
        ("lumera.gas_price", "nan", "no price"),
        ("lumera.gas_price", "1e999", "no price"),
        ("lumera.gas_price", "0.025uatom", "'uatom'"),
        ("lumera.gas_price", float("inf"), "quotes"),
        ("lumera.fee_denom", "uatom", "ulume only"),
        ("storage_challenge.poll_interval_ms", -1, "must be >= 0"),
        ("storage_challenge.lep6.recipient_read_timeout", "30", "not a duration"),
        ("storage_challenge.lep6.recipient_read_timeout", "30 s", "not a duration"),
        ("storage_challenge.lep6.recipient_read_timeout", 30, "not a duration"),
        ("storage_challenge.lep6.recheck.max_per_tick", -1, "must be >= 0"),
        ("self_healing.enabled", "perhaps", "write true or false"),
        ("self_healing.enabled", 1, "write true or false"),
        ("self_healing.poll_interval_ms", 1 << 63, "largest"),
        ("lep6.enabled", "maybe", "write true or false"),
        ("lep6.data_dir", "", "is empty"),
        ("lep6.data_dir", "heal-staging", "where rebuilt files go"),
        ("lep6.data_dir", "heal-staging/../heal-staging/own", "where rebuilt files go"),
        ("lep6.grpc_addrs", "one", "not a list"),
        ("lep6.grpc_addrs", ["one", ["two"]], "not a text"),
        ("lep6.grpc_addrs", ["a b"], "no address of a server"),
        ("lep6.metrics_listen", "0.0.0.0:9464", "metrics_public"),
        ("lep6.metrics_listen", "example.org:9464", "metrics_public"),
        ("lep6.metrics_listen", ":9464", "no place to listen"),
        ("lep6.metrics_listen", "127.0.0.1", "no place to listen"),
        ("lep6.metrics_listen", "127.0.0.1:70000", "no place to listen"),
        ("lep6.metrics_listen", "::1:9464", "no place to listen"),
        ("lep6.log_format", "jsno", "json may be meant"),
        ("lep6.log_level", "loud", "write one of debug, info, warning, error"),
        ("lep6.metrics_listen", "127.0.0.1:4444", "has the port 4444 of supernode.port"),
        ("lep6.metrics_listen", "0.0.0.0:4444", "has the port 4444 of supernode.port"),
        ("lep6.stop_seconds", -1, "must be >= 0"),
        ("lep6.stop_seconds", 0, "write 1 or more"),
        ("lep6.stop_seconds", 0.5, "write 1 or more"),
        ("lep6.tx_poll_ms", 1, "write 100 or more, or 0 for the default"),
        ("lep6.tx_poll_ms", 99, "write 100 or more"),
        ("self_healing.poll_interval_ms", 99, "write 100 or more, or 0 for the default"),
        ("lep6.unreachable_policy", "neutral", "write one of negative, patient"),
        ("lep6.threads", 0, "write 1 or more"),
        ("lep6.embedded_network", "net", "lep6 run refuses it"),
        ("lep6.log_levl", "info", "lep6.log_level may be meant"),
        ("lep6.3", "x", "is no key of lep6"),
        ("lep6.<<", {"threads": 3}, "merge"),
        ("lumera.<<", {"chain_id": "x"}, "merge"),
        ("lumera", 5, "not a mapping"),
        ("storage_challenge.lep6", "on", "not a mapping"),
        ("lep6", [1], "not a mapping"),
    ],
)
def test_a_bad_value_is_named_with_its_key_and_its_mend(tmp_path, key, value, said):
    found = problems(tmp_path, changed(key, value))
    assert said in found[key]
    # A section that cannot be read has no keys; nothing else is said of a value that is named already.
    assert set(found) == {key} or not isinstance(sections().get(key, 0), int)


@pytest.mark.parametrize("key", [key for key, attribute in KEYS.items() if attribute.type is int])
def test_no_whole_number_is_negative(tmp_path, key):
    assert problems(tmp_path, changed(key, -1)) == {key: "is -1; must be >= 0: write 0 or more"}


def test_everything_is_named_at_once_in_the_order_of_the_file(tmp_path):
    tree = sections(
        lep6={"thread": 3, "threads": 0, "metrics_listen": "0.0.0.0:1"},
        supernode={"port": "x", "identity": ...},
        lumera={"chain_id": ..., "gas_price": "dear"},
        keyring={"backend": "os"},
        self_healing={"poll_interval_ms": -5, "enabled": True},
    )
    tree["lep6"]["enabled"] = True
    found = problems(tmp_path, tree, {"LEP6_LEP6__THREADZ": "1"})
    assert list(found) == [
        "supernode.port",
        "supernode.identity",
        "keyring.backend",
        "lumera.chain_id",
        "lumera.gas_price",
        "self_healing.poll_interval_ms",
        "lep6.thread",
        "lep6.enabled",
        "lep6.metrics_listen",
        "lep6.threads",
        "LEP6_LEP6__THREADZ",
    ]


def test_a_recheck_needs_what_it_rechecks(tmp_path):
    tree = sections(storage_challenge={"enabled": False})
    assert "storage_challenge.enabled=true" in problems(tmp_path, tree)["storage_challenge.lep6.recheck.enabled"]
    tree = changed("storage_challenge.lep6.enabled", False)
    assert "storage_challenge.lep6.enabled=true" in problems(tmp_path, tree)["storage_challenge.lep6.recheck.enabled"]


@pytest.mark.parametrize("place", ["[::1]:0", "localhost:9464", "127.8.9.1:65535"])
def test_metrics_on_loopback_need_no_leave(tmp_path, place):
    assert loaded(tmp_path, changed("lep6.metrics_listen", place)).metrics_place is not None


def test_public_metrics_may_be_anywhere(tmp_path):
    config = loaded(tmp_path, sections(lep6={"metrics_listen": "[::]:9464", "metrics_public": True}))
    assert config.metrics_place == ("::", 9464)


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("self_healing.max_concurrent_reconstruct", 9, "self_healing.max_concurrent_reconstructs"),
        ("self_healing.something", 9, "remove it"),
        ("lumera.gas_pading", 9, "lumera.gas_padding"),
        ("self_heeling", {}, "lep6"),
        ("supernode.ip_adress", "x", "supernode.ip_address"),
    ],
)
def test_a_key_that_go_ignores_is_tolerated_with_a_word(tmp_path, key, value, meant):
    tree = changed(key, value)
    if key == "self_heeling":
        tree["self_heeling"] = tree.pop("self_healing")
        meant = "self_healing"
    told = {each.key: each.mend for each in loaded(tmp_path, tree).advisories}
    assert meant in told[key]


def test_a_passphrase_in_a_file_that_others_can_read_is_worth_a_word(tmp_path):
    path = write(tmp_path, GO_FILE)
    path.chmod(0o644)
    (advisory,) = load(path, {}).advisories
    assert (advisory.key, advisory.mend) == ("keyring.passphrase_plain", "chmod 600 it")
    assert SECRET not in str(advisory)
    path.chmod(0o600)
    assert load(path, {}).advisories == ()


def test_a_keyring_that_nobody_can_open_unasked_is_worth_a_word(tmp_path):
    (advisory,) = loaded(tmp_path, changed("keyring.passphrase_plain", ...)).advisories
    assert advisory.key == "keyring.passphrase_file"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1\nb: 2", "line 2"),
        ("supernode: {}\nlumera: {}\nsupernode: {}\n", "line 3"),
        ("x: 1\n\"a\": {}\n'a' : {}\n", "line 3"),
        ("lep6:\n  threads: 1\n  threads: 2\n", "line 2"),
        ("a: *x", "line 1"),
        ("a: 1\n---\nb: 2", "more than one document"),
        ("- 1", "not a mapping"),
        ("text", "not a mapping"),
        ("a: \x00", "control characters"),
        ("? [1]\n: 2", "not YAML"),
        ("[" * 100_000, "line 1"),
        ("#" * (MAX_SIZE + 1), "more than 1048576 bytes"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_with_its_line(tmp_path, text, said):
    found = problems(tmp_path, text)
    assert list(found) == [""]
    assert said in found[""]


def test_a_bomb_of_aliases_is_refused(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    assert "limit" in problems(tmp_path, "\n".join(lines))[""]


def test_a_file_in_another_encoding_is_refused_with_its_line(tmp_path):
    path = tmp_path / "config.yml"
    path.write_bytes(b"a: 1\nb: \xe9\n")
    with pytest.raises(InvalidConfig, match="line 2"):
        load(path, {})


def test_an_empty_file_has_everything_missing(tmp_path):
    assert "supernode.identity" in problems(tmp_path, "")


@pytest.mark.parametrize("made", ["nothing", "directory", "pipe", "nul"])
def test_what_is_no_file_is_refused(tmp_path, made):
    path = tmp_path / ("config\0.yml" if made == "nul" else "config.yml")
    if made == "directory":
        path.mkdir()
    elif made == "pipe":
        os.mkfifo(path)
    with pytest.raises(InvalidConfig) as raised:
        load(path, {})
    (problem,) = raised.value.problems
    assert problem.what.startswith("is not there" if made == "nothing" else "cannot be read")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_must_not_be_read_is_refused(tmp_path):
    path = write(tmp_path, GO_FILE)
    path.chmod(0)
    with pytest.raises(InvalidConfig, match="Permission denied"):
        load(path, {})


scalars = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | st.text(max_size=20)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from([*KEYS, "lumera", "lep6", "storage_challenge.lep6", "lep6.new"]), anything, max_size=8
    )
)
def test_whatever_stands_in_the_file_is_a_configuration_or_problems(tmp_path, values):
    tree = sections()
    for key, value in values.items():
        *path, name = key.split(".")
        section = tree
        for each in path:
            section = section.setdefault(each, {}) if isinstance(section, dict) else {}
        if isinstance(section, dict):
            section[name] = copy.deepcopy(value)
    written = tmp_path / "config.yml"
    written.write_text(ryaml.dumps(tree))
    try:
        config = load(written, {})
    except InvalidConfig as error:
        assert error.problems  # noqa: PT017
        assert len({each.key for each in error.problems}) == len(error.problems)  # noqa: PT017
    else:
        assert isinstance(config, Config)
        config.settings()
        config.gas_policy()
        assert config.chain_addresses
        config.keyring_source(lambda: "x")


@given(st.text(alphabet="ab:-[]{}&*!|>'\"%@`,? #\n\t\\0", max_size=60) | st.binary(max_size=60))
def test_whatever_bytes_a_file_has_no_traceback_comes_of_it(tmp_path, content):
    path = tmp_path / "config.yml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InvalidConfig):
        load(path, {})
