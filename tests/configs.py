"""Configuration files for tests."""

import copy

import ryaml

from keyrings import COSMOS_SECRET
from lep6.config import load
from lep6.keys import KeyKind, PrivateKey

KEY = PrivateKey(KeyKind.COSMOS, COSMOS_SECRET)
SECRET = "correct horse, 8 or more"  # noqa: S105

GO_FILE = f"""\
# Supernode configuration
supernode:
    key_name: mykey
    identity: {KEY.public.address}
    host: 0.0.0.0
    port: 4444
keyring:
    backend: file
    dir: keys
    passphrase_plain: "{SECRET}"
p2p:
    port: 4445
    data_dir: data/p2p
    bootstrap_nodes: ""
lumera:
    grpc_addr: localhost:9090
    chain_id: lumera-testnet-2
raptorq:
    files_dir: raptorq_files
storage_challenge:
    enabled: true
    poll_interval_ms: 5000
    submit_evidence: true
    lep6:
        enabled: true
        max_concurrent_targets: 4
        recipient_read_timeout: 30s
        recheck:
            enabled: true
            lookback_epochs: 7
            max_per_tick: 5
            tick_interval_ms: 60000
self_healing:
    enabled: true
    poll_interval_ms: 30000
    max_concurrent_reconstructs: 2
    max_concurrent_verifications: 4
    max_concurrent_publishes: 2
    staging_dir: heal-staging
    verifier_fetch_timeout_ms: 60000
    verifier_fetch_attempts: 3
    verifier_backoff_base_ms: 2000
log:
    level: info
"""
"""A file as the Go supernode's `init` writes it, with a section that lep6 does not know."""


def sections(**changed):
    """A good file as a tree, with keys replaced: `sections(lumera={"chain_id": "x"})`; `...` removes one."""
    tree = copy.deepcopy(ryaml.loads(GO_FILE))
    for name, keys in changed.items():
        if not isinstance(keys, dict):
            tree[name] = keys
            continue
        section = tree.setdefault(name, {})
        for key, value in keys.items():
            if value is ...:
                section.pop(key, None)
            else:
                section[key] = value
    return tree


def write(directory, tree):
    """Write a file, from text or from a tree."""
    path = directory / "config.yml"
    path.write_text(tree if isinstance(tree, str) else ryaml.dumps(tree))
    path.chmod(0o600)
    return path


def loaded(directory, tree, environ=None):
    return load(write(directory, tree), environ or {})
