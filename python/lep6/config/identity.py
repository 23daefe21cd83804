"""The key that the node is known by."""

from collections.abc import Callable

from lep6.config.configuration import Config
from lep6.errors import KeyNotOpened
from lep6.keys import PrivateKey
from lep6.keys.discreet import discreet


@discreet
def open_key(config: Config, ask: Callable[[], str] | None = None) -> PrivateKey:
    """The private key of `supernode.identity`. Blocking: a passphrase is stretched for a while.

    Args:
        config: where the key is.
        ask: asks somebody for the passphrase, where the file names no source of it.

    Raises:
        KeyNotOpened: it was not had, or it is the key of another account.
        OSError: the system refused a read.
    """
    keyring = config.keyring_source(ask)
    if not keyring.folder.is_dir():
        raise KeyNotOpened(f"there is no keyring at {keyring.folder}: mend keyring.dir or keyring.backend")
    key = keyring.private_key(config.supernode.key_name)
    if key.public.address != config.supernode.identity:
        raise KeyNotOpened(
            f"the key {config.supernode.key_name!r} is that of {key.public.address},"
            f" but supernode.identity is {config.supernode.identity}: mend whichever is wrong"
        )
    return key
