"""A file of the Go supernode, read as the Go supernode reads it (chain contract §7)."""

import attrs
import pytest
import ryaml
from hypothesis import given
from hypothesis import strategies as st

from configs import GO_FILE, KEY, loaded, sections, write
from lep6.chain import GasPolicy
from lep6.config import Backend, Default, Healing, InFile, LogFormat, LogLevel, load
from lep6.config.keys import KEYS
from lep6.config.sections import ZERO_IS_DEFAULT, Document
from lep6.grpc.dial import Address
from lep6.heal.settings import Settings, UnreachablePolicy

MISSING = {
    "supernode.key_name": "",
    "supernode.identity": "",
    "supernode.host": "",
    "supernode.ip_address": "",
    "supernode.port": 0,
    "supernode.gateway_port": 8002,
    "supernode.evm_key_name": "",
    "keyring.backend": None,
    "keyring.dir": "",
    "keyring.passphrase_env": "",
    "keyring.passphrase_file": "",
    "p2p.port": 0,
    "p2p.data_dir": "",
    "p2p.bootstrap_nodes": "",
    "lumera.grpc_addr": "",
    "lumera.chain_id": "",
    "lumera.gas_adjustment": 1.3,
    "lumera.gas_adjustment_multiplier": 1.3,
    "lumera.gas_adjustment_max_attempts": 3,
    "lumera.gas_padding": 50000,
    "lumera.gas_price": "0.025",
    "lumera.fee_denom": "ulume",
    "raptorq.files_dir": "",
    "storage_challenge.enabled": False,
    "storage_challenge.poll_interval_ms": 5000,
    "storage_challenge.submit_evidence": False,
    "storage_challenge.lep6.enabled": False,
    "storage_challenge.lep6.max_concurrent_targets": 4,
    "storage_challenge.lep6.recipient_read_timeout": 30.0,
    "storage_challenge.lep6.recheck.enabled": False,
    "storage_challenge.lep6.recheck.lookback_epochs": 7,
    "storage_challenge.lep6.recheck.max_per_tick": 5,
    "storage_challenge.lep6.recheck.tick_interval_ms": 60000,
    "storage_challenge.lep6.recheck.max_failure_attempts_per_ticket": 3,
    "storage_challenge.lep6.recheck.failure_backoff_ttl_ms": 900000,
    "self_healing.enabled": None,
    "self_healing.poll_interval_ms": 30000,
    "self_healing.max_concurrent_reconstructs": 2,
    "self_healing.max_concurrent_verifications": 4,
    "self_healing.max_concurrent_publishes": 2,
    "self_healing.staging_dir": "heal-staging",
    "self_healing.verifier_fetch_timeout_ms": 60000,
    "self_healing.verifier_fetch_attempts": 3,
    "self_healing.verifier_backoff_base_ms": 2000,
    "self_healing.audit_query_timeout_ms": 10000,
    "lep6.enabled": None,
    "lep6.data_dir": "lep6-data",
    "lep6.grpc_addrs": (),
    "lep6.metrics_listen": "127.0.0.1:9464",
    "lep6.metrics_public": False,
    "lep6.log_format": LogFormat.JSON,
    "lep6.log_level": LogLevel.INFO,
    "lep6.stop_seconds": 20.0,
    "lep6.unreachable_policy": UnreachablePolicy.NEGATIVE,
    "lep6.embedded_network": "",
    "lep6.threads": 4,
    "lep6.tx_poll_ms": 2000,
}
"""What holds when a key is missing."""

LEAST = f"""\
supernode: {{key_name: k, identity: {KEY.public.address}, port: 4444}}
keyring: {{backend: test}}
lumera: {{grpc_addr: node, chain_id: c}}
"""


def of(config):
    return {each.key: each.value for each in config.values}


def test_every_key_has_the_default_of_the_contract():
    made = Document()
    defaults = {}
    for key in KEYS:
        value = made
        for name in key.split("."):
            value = getattr(value, name)
        defaults[key] = value
    assert not defaults.pop("keyring.passphrase_plain")
    assert defaults == MISSING


def test_a_missing_key_has_its_default(tmp_path):
    config = loaded(tmp_path, LEAST)
    said = {"supernode.key_name", "supernode.identity", "supernode.port", "keyring.backend"}
    said |= {"lumera.grpc_addr", "lumera.chain_id"}
    for value in config.values:
        if value.key in said:
            assert value.origin == InFile(tmp_path / "config.yml")
        else:
            assert value.origin == Default()
            assert value.value == MISSING.get(value.key, value.value)


@pytest.mark.parametrize("zero", ["0", "null", "''", "0.0"])
@pytest.mark.parametrize("key", [key for key, attribute in KEYS.items() if ZERO_IS_DEFAULT in attribute.metadata])
def test_zero_empty_and_null_mean_the_default(tmp_path, key, zero):
    tree = ryaml.loads(LEAST)
    *path, name = key.split(".")
    section = tree
    for each in path:
        section = section.setdefault(each, {})
    section[name] = ryaml.loads(zero)
    assert of(loaded(tmp_path, tree))[key] == MISSING[key]


@pytest.mark.parametrize("key", KEYS)
def test_null_is_a_key_that_is_absent(tmp_path, key):
    tree = ryaml.loads(LEAST)
    *path, name = key.split(".")
    section = tree
    for each in path:
        section = section.setdefault(each, {})
    if name in section:
        return
    section[name] = None
    assert of(loaded(tmp_path, tree)) == of(loaded(tmp_path, LEAST))


def test_a_section_without_keys_is_absent(tmp_path):
    assert of(loaded(tmp_path, LEAST + "self_healing:\nlep6:\n")) == of(loaded(tmp_path, LEAST))


def test_a_file_of_the_go_supernode_is_read_as_it_is(tmp_path):
    config = loaded(tmp_path, GO_FILE)
    assert config.healing is Healing.INSTEAD
    assert config.advisories == ()
    assert config.path == tmp_path / "config.yml"
    assert config.base == tmp_path
    assert config.supernode.key_name == "mykey"
    assert config.keyring.backend is Backend.FILE
    assert config.settings() == Settings()
    assert config.gas_policy() == GasPolicy()
    assert config.fetch_seconds == 60
    assert (config.listen_host, config.listen_port) == ("0.0.0.0", 4444)  # noqa: S104
    assert config.metrics_place == ("127.0.0.1", 9464)
    assert config.staging_dir == tmp_path / "heal-staging" / f"lep6-{config.supernode.identity}"
    assert config.data_dir == tmp_path / "lep6-data"
    assert config.embedded_network is None
    assert config.chain_addresses == (Address("localhost", 9090, tls=False),)


def test_settings_are_those_of_the_file_in_seconds(tmp_path):
    keys = {
        "poll_interval_ms": 1500,
        "max_concurrent_reconstructs": 5,
        "max_concurrent_verifications": 6,
        "max_concurrent_publishes": 7,
        "verifier_fetch_timeout_ms": 2500,
        "verifier_fetch_attempts": 8,
        "verifier_backoff_base_ms": 250,
        "audit_query_timeout_ms": 3500,
    }
    config = loaded(tmp_path, sections(self_healing=keys, lep6={"unreachable_policy": "patient"}))
    assert config.fetch_seconds == 2.5
    assert config.settings() == Settings(
        tick=1.5,
        reconstructs=5,
        verifications=6,
        publishes=7,
        fetch_attempts=8,
        backoff=0.25,
        query=3.5,
        verifier_unreachable_policy=UnreachablePolicy.PATIENT,
    )


def test_the_price_of_gas_follows_the_go_supernode(tmp_path):
    keys = {
        "gas_adjustment": 2,
        "gas_adjustment_multiplier": 1.0,
        "gas_adjustment_max_attempts": 50,
        "gas_padding": 7,
        "gas_price": "0.5ulume",
    }
    policy = loaded(tmp_path, sections(lumera=keys)).gas_policy()
    assert policy == GasPolicy(price=0.5, adjustment=2.0, escalation=1.3, attempts=10, padding=7)


@pytest.mark.parametrize(
    ("written", "price"),
    [(0.025, 0.025), ("1", 1.0), (2, 2.0), ("0.00001", 1e-5), (0.00001, 1e-5), ("1e-3ulume", 1e-3)],
)
def test_a_gas_price_may_be_a_number_or_a_text(tmp_path, written, price):
    assert loaded(tmp_path, sections(lumera={"gas_price": written})).gas_policy().price == price


@pytest.mark.parametrize(
    ("host", "ip_address", "listens"),
    [("", "", "0.0.0.0"), ("  ", "10.0.0.1", "10.0.0.1"), ("10.0.0.2", "10.0.0.1", "10.0.0.2"), (" ", " ", "0.0.0.0")],  # noqa: S104
)
def test_a_blank_host_gives_way_to_the_old_name(tmp_path, host, ip_address, listens):
    config = loaded(tmp_path, sections(supernode={"host": host, "ip_address": ip_address}))
    assert config.listen_host == listens


def test_absolute_paths_stay_and_relative_ones_are_from_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    tree = sections(self_healing={"staging_dir": "/var/heal"}, lep6={"data_dir": "../own", "embedded_network": "net"})
    tree["lumera"]["chain_id"] = "lumera-devnet-1"
    write(home, tree)
    config = load(home.relative_to(tmp_path) / "config.yml", {})
    assert config.path == home / "config.yml"
    assert str(config.staging_dir.parent) == "/var/heal"
    assert config.data_dir == tmp_path / "own"
    assert config.embedded_network == home / "net"


def test_paths_are_from_where_the_link_to_the_file_is(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "link.yml").symlink_to(write(tmp_path, GO_FILE))
    assert load(tmp_path / "home" / "link.yml", {}).base == tmp_path / "home"


@pytest.mark.parametrize("word", ["yes", "on", "True", "TRUE", "y"])
def test_words_that_go_takes_for_yes_are_yes_where_a_bool_is_wanted_only(tmp_path, word):
    config = loaded(
        tmp_path,
        GO_FILE.replace("enabled: true\n    poll_interval_ms: 30", f"enabled: {word}\n    poll_interval_ms: 30"),
    )
    assert config.self_healing.enabled is True


def test_no_is_a_text_where_a_text_is_wanted(tmp_path):
    config = loaded(tmp_path, GO_FILE.replace("key_name: mykey", "key_name: no"))
    assert config.supernode.key_name == "no"


@pytest.mark.parametrize("written", ["test", "TEST", "File", "file"])
def test_a_backend_is_known_in_any_case(tmp_path, written):
    config = loaded(tmp_path, sections(keyring={"backend": written}))
    assert config.keyring.backend is Backend(written.lower())


@pytest.mark.parametrize(
    ("written", "seconds"), [("30s", 30), ("1m30s", 90), ("1.5h", 5400), ("500ms", 0.5), (".5s", 0.5), ("2us", 2e-6)]
)
def test_durations_are_those_of_go(tmp_path, written, seconds):
    tree = sections()
    tree["storage_challenge"]["lep6"]["recipient_read_timeout"] = written
    values = of(loaded(tmp_path, tree))
    assert values["storage_challenge.lep6.recipient_read_timeout"] == pytest.approx(seconds)


def test_keys_of_other_programs_are_tolerated(tmp_path):
    tree = sections(p2p={"wholly_other": [1, 2]}, monitoring={"x": {"y": 1}}, supernode={"claiming": 1})
    assert loaded(tmp_path, tree).advisories == ()


def test_nodes_of_the_chain_are_named_once_each_the_first_first(tmp_path):
    config = loaded(tmp_path, sections(lep6={"grpc_addrs": ["https://other", "localhost:9090", "10.0.0.9:1"]}))
    assert [address.authority for address in config.chain_addresses] == ["localhost:9090", "other:443", "10.0.0.9:1"]


def test_metrics_can_be_turned_off(tmp_path):
    assert loaded(tmp_path, sections(lep6={"metrics_listen": ""})).metrics_place is None


@given(
    st.fixed_dictionaries(
        {},
        optional={
            key.removeprefix("self_healing."): st.integers(
                100 if key.endswith(".poll_interval_ms") else 1, (1 << 63) - 1
            )
            for key, attribute in KEYS.items()
            if key.startswith("self_healing.") and attribute.type is int
        },
    )
)
def test_any_positive_numbers_make_settings(tmp_path, numbers):
    config = loaded(tmp_path, sections(self_healing=numbers))
    assert config.settings().tick == numbers.get("poll_interval_ms", 30000) / 1000
    assert attrs.evolve(config.self_healing, **numbers) == config.self_healing
