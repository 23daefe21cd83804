import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import GO_FILE, loaded, sections
from lep6.config import Default, InEnvironment, InFile, LogFormat
from lep6.config.environment import VARIABLES, variable_of
from lep6.config.keys import KEYS
from lep6.errors import InvalidConfig


def test_every_key_has_a_variable_of_its_own():
    assert len(VARIABLES) == len(KEYS)
    assert variable_of("self_healing.poll_interval_ms") == "LEP6_SELF_HEALING__POLL_INTERVAL_MS"
    assert variable_of("lep6.log_format") == "LEP6_LEP6__LOG_FORMAT"
    assert variable_of("storage_challenge.lep6.recheck.enabled") == "LEP6_STORAGE_CHALLENGE__LEP6__RECHECK__ENABLED"


def test_a_variable_replaces_what_the_file_says(tmp_path):
    environ = {
        "LEP6_SELF_HEALING__POLL_INTERVAL_MS": "1000",
        "LEP6_SELF_HEALING__ENABLED": "false",
        "LEP6_LUMERA__GRPC_ADDR": "other:1",
        "LEP6_LUMERA__GAS_ADJUSTMENT": "1.5",
        "LEP6_LUMERA__GAS_PRICE": "0.5",
        "LEP6_LEP6__LOG_FORMAT": "console",
        "LEP6_LEP6__GRPC_ADDRS": "a:1, b:2,",
        "LEP6_LEP6__STOP_SECONDS": "3",
        "LEP6_LEP6__ENABLED": "true",
        "LEP6_LEP6__METRICS_LISTEN": "",
        "LEP6_SUPERNODE__PORT": "5555",
        "LEP6_SUPERNODE__KEY_NAME": "123",
        "HOME": "/",
    }
    config = loaded(tmp_path, GO_FILE, environ)
    assert config.self_healing.poll_interval_ms == 1000
    assert (config.self_healing.enabled, config.lep6.enabled) == (False, True)
    assert config.lumera.grpc_addr == "other:1"
    assert config.gas_policy().adjustment == 1.5
    assert config.gas_policy().price == 0.5
    assert config.lep6.log_format is LogFormat.CONSOLE
    assert config.lep6.grpc_addrs == ("a:1", "b:2")
    assert config.lep6.stop_seconds == 3
    assert config.metrics_place is None
    assert config.listen_port == 5555
    assert config.supernode.key_name == "123"
    origins = {each.key: each.origin for each in config.values}
    assert {key for key, origin in origins.items() if isinstance(origin, InEnvironment)} == {
        VARIABLES[variable] for variable in environ if variable != "HOME"
    }
    assert origins["lumera.grpc_addr"] == InEnvironment("LEP6_LUMERA__GRPC_ADDR")
    assert origins["lumera.chain_id"] == InFile(tmp_path / "config.yml")
    assert origins["lep6.threads"] == Default()


def test_a_variable_of_0_asks_for_the_default_whatever_the_file_says(tmp_path):
    tree = sections(self_healing={"poll_interval_ms": 5})
    config = loaded(tmp_path, tree, {"LEP6_SELF_HEALING__POLL_INTERVAL_MS": "0"})
    assert config.self_healing.poll_interval_ms == 30000


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LEP6_SELF_HEALING__POLL_INTERVAL_MS", "soon"),
        ("LEP6_SELF_HEALING__POLL_INTERVAL_MS", "-1"),
        ("LEP6_SELF_HEALING__POLL_INTERVAL_MS", "1_000"),
        ("LEP6_SELF_HEALING__POLL_INTERVAL_MS", "9" * 5000),
        ("LEP6_LEP6__STOP_SECONDS", "1.2.3"),
        ("LEP6_LEP6__STOP_SECONDS", "nan"),
        ("LEP6_LEP6__STOP_SECONDS", ""),
        ("LEP6_LEP6__THREADS", ""),
        ("LEP6_LEP6__ENABLED", ""),
        ("LEP6_SUPERNODE__PORT", "65536"),
        ("LEP6_LEP6__LOG_LEVEL", "loud"),
        ("LEP6_KEYRING__BACKEND", "nowhere"),
    ],
)
def test_a_bad_value_is_named_with_its_key_and_its_variable(tmp_path, variable, value):
    with pytest.raises(InvalidConfig) as raised:
        loaded(tmp_path, GO_FILE, {variable: value})
    (problem,) = raised.value.problems
    assert problem.key == VARIABLES[variable]
    assert variable in problem.what


def test_a_variable_that_is_none_of_ours_is_refused_with_a_suggestion(tmp_path):
    environ = {"LEP6_SELF_HEALING__POLL_INTERVAL": "1", "LEP6_QQQ__ZZZ": "2"}
    with pytest.raises(InvalidConfig) as raised:
        loaded(tmp_path, GO_FILE, environ)
    mends = {each.key: each.mend for each in raised.value.problems}
    assert mends == {
        "LEP6_SELF_HEALING__POLL_INTERVAL": "LEP6_SELF_HEALING__POLL_INTERVAL_MS may be meant",
        "LEP6_QQQ__ZZZ": "unset it; `lep6 config show` lists the keys",
    }


def test_a_variable_that_may_be_another_programs_is_tolerated(tmp_path):
    config = loaded(tmp_path, GO_FILE, {"LEP6_LOG_FORMAT": "json", "LEP6_HOME": "/", "LEP6": ""})
    (advisory,) = config.advisories
    assert (advisory.key, advisory.mend) == ("LEP6_LOG_FORMAT", "LEP6_LEP6__LOG_FORMAT may be meant")


def test_the_variable_with_the_passphrase_may_have_any_name(tmp_path):
    tree = sections(keyring={"passphrase_env": "LEP6_KEYRING__SECRET"})
    assert loaded(tmp_path, tree, {"LEP6_KEYRING__SECRET": "x"}).advisories == ()


@given(st.dictionaries(st.sampled_from(sorted(VARIABLES)), st.text(max_size=12) | st.from_regex(r"-?[0-9.e]{1,9}")))
def test_whatever_the_variables_say_it_is_a_configuration_or_problems(tmp_path, environ):
    try:
        loaded(tmp_path, GO_FILE, environ).settings()
    except InvalidConfig as error:
        assert error.problems  # noqa: PT017
