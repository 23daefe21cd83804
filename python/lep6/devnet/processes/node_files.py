"""What a node needs before it can run as a process: a configuration file and a keyring."""

from pathlib import Path
from typing import Any, Final

import ryaml

from lep6.config.sections import DEVNET_CHAIN_ID
from lep6.devnet.network import node_key, node_secret
from lep6.devnet.node import STAGING
from lep6.devnet.processes.keyring import write_key
from lep6.devnet.scenario import Pace

KEY_NAME: Final = "node"
DATA: Final = "data"
"""The node's own files, below its directory."""
CONFIG: Final = "config.yml"


def write_node(directory: Path, number: int, *, place: str, chain: str, network: Path, pace: Pace) -> Path:
    """Write the files of a node; the path of its configuration. `place`, `chain`: `host:port` of both.

    Raises:
        OSError: the system refused a write.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    public = node_key(number).public
    write_key(directory / "keys", KEY_NAME, public, node_secret(number))
    host, _, port = place.rpartition(":")
    document: dict[str, Any] = {
        "supernode": {"key_name": KEY_NAME, "identity": public.address, "host": host, "port": int(port)},
        "keyring": {"backend": "test", "dir": "keys"},
        "lumera": {"grpc_addr": chain, "chain_id": DEVNET_CHAIN_ID},
        "self_healing": {
            "poll_interval_ms": _milliseconds(2 * pace.block_seconds),
            "staging_dir": STAGING,
            "verifier_backoff_base_ms": 200,
            "audit_query_timeout_ms": 5000,
        },
        "lep6": {
            "enabled": True,
            "data_dir": DATA,
            "metrics_listen": "127.0.0.1:0",
            "stop_seconds": 8,
            "tx_poll_ms": _milliseconds(pace.block_seconds),
            "embedded_network": str(network.absolute()),
        },
    }
    path = directory / CONFIG
    path.write_text(ryaml.dumps(document))  # type: ignore[attr-defined] # it names none of what it exports
    return path


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
