"""`lep6 run`: the daemon."""

import errno
import os
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

import click
import trio

from lep6.blocking import Threads
from lep6.cli.options import config_option
from lep6.cli.terminal import fail
from lep6.config import Config, InvalidConfig, load
from lep6.daemon.exits import Exit
from lep6.daemon.logs import write_events
from lep6.daemon.run import Networks, run_daemon
from lep6.errors import AlreadyRunning, Lep6Error, NoNetwork, NoSpace, NotWanted, StoreUnavailable
from lep6.observe import get_logger
from lep6.ports import Blocking

log = get_logger("cli.run")

LASTING: Final = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EROFS,
        errno.ELOOP,
        errno.ENAMETOOLONG,
    }
)
"""What the system says when somebody has to do something; the rest may pass by itself."""


@click.command()
@config_option
def group(path: Path) -> None:
    """Heal in place of a Go supernode's healer, until SIGTERM, SIGINT or SIGHUP. It needs the node's port for itself.

    Exit codes: 0 stopped; 4 the configuration, the key, the data or the machine is not as it must be; 5 another daemon
    has the data, the key or the port; 6 the chain is another one or does not know this node; 7 stopped, but not in
    time; 70 a bug; 75 something that may pass by itself is in the way.
    """
    try:
        sys.exit(start(path))
    except InvalidConfig as error:
        fail(f"{error}\nlep6 config check --config {path} says more", Exit.CANNOT_RUN)
    except Exception as error:
        found = _single(error)
        if not isinstance(found, (Lep6Error, OSError)):
            log.exception("bug")
            fail("that is a bug of lep6: please report it with the log", Exit.BUG)
        fail(str(found), _code(found))


def start(path: Path) -> Exit:
    """Run the daemon that a file configures. Raises as `run_daemon`, and `InvalidConfig`."""
    config = load(path, os.environ)
    write_events(config.lep6.log_format, config.lep6.log_level)
    return trio.run(run_daemon, config, Threads(config.lep6.threads), os.environ, open_networks)


def open_networks(config: Config, blocking: Blocking) -> AbstractAsyncContextManager[Networks]:
    """The network that is configured: until lep6 has a client of its own, that of a devnet.

    Raises:
        NoNetwork: there is none.
    """
    if config.embedded_network is None:
        raise NoNetwork(
            "this lep6 has no client of the Kademlia network yet: `lep6 run` heals on a devnet"
            " (lep6.embedded_network) only; on a real network embed it in a supernode host that hands in its network"
        )
    from lep6.devnet.configured import open_networks as opened  # noqa: PLC0415 # only a devnet needs it

    return opened(config, blocking)


def _code(error: Exception) -> Exit:
    match error:
        case AlreadyRunning():
            return Exit.ALREADY_RUNNING
        case NotWanted():
            return Exit.NOT_WANTED
        case StoreUnavailable() | NoSpace():
            return Exit.NOT_NOW
        case OSError(errno=int(number)) if number not in LASTING:
            return Exit.NOT_NOW
        case _:
            return Exit.CANNOT_RUN


def _single(error: Exception) -> Exception:
    """The one error of a group of one."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
