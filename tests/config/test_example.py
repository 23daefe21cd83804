"""The file to begin with says what is true."""

import re
from pathlib import Path

import pytest
import ryaml

from configs import KEY
from lep6.config import Healing, InvalidConfig, example, load, write_example
from lep6.config.keys import KEYS, value_at
from lep6.config.sections import Document
from lep6.errors import OutputExists

DOCS = Path(__file__).parents[2] / "docs"
INIT = {
    "supernode.key_name": "test-key",
    "supernode.host": "0.0.0.0",  # noqa: S104
    "supernode.port": 4444,
    "keyring.backend": "test",
    "keyring.dir": "keys",
    "p2p.port": 4445,
    "p2p.data_dir": "data/p2p",
    "lumera.grpc_addr": "localhost:9090",
    "lumera.chain_id": "testing",
    "raptorq.files_dir": "raptorq_files",
    "storage_challenge.enabled": True,
    "storage_challenge.submit_evidence": True,
}
"""What the Go supernode's `init` writes, where it is not the default."""


def flat(tree, path=""):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def plain(value):
    value = getattr(value, "value", value)
    return list(value) if isinstance(value, tuple) else value


def test_the_documentation_has_the_file_that_init_writes():
    assert (DOCS / "config.example.yml").read_text() == example()


def test_it_has_every_key_and_no_other():
    uncommented = re.sub(r"^( *)# (\w+: ?\S*)$", r"\1\2", example(), flags=re.MULTILINE)
    assert {key for key, _ in flat(ryaml.loads(uncommented))} == set(KEYS)


def test_its_values_are_the_defaults_or_those_of_the_go_supernode():
    own = {"self_healing.enabled": False, "lep6.enabled": True}
    for key, value in flat(ryaml.loads(example())):
        expected = {**INIT, **own}.get(key, plain(value_at(Document(), key)))
        assert value == ("30s" if key.endswith("recipient_read_timeout") else expected), key


def test_only_the_identity_is_missing_from_it(tmp_path):
    path = tmp_path / "config.yml"
    write_example(path)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(InvalidConfig) as raised:
        load(path, {})
    assert [each.key for each in raised.value.problems] == ["supernode.identity"]
    path.write_text(path.read_text().replace('identity: ""', f"identity: {KEY.public.address}"))
    config = load(path, {})
    assert config.healing is Healing.BESIDE
    assert config.advisories == ()


def test_nothing_is_overwritten(tmp_path):
    path = tmp_path / "config.yml"
    path.write_text("mine")
    with pytest.raises(OutputExists):
        write_example(path)
    assert path.read_text() == "mine"
