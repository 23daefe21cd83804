"""One daemon a directory, and one a key: two would sign with the same sequence, and answer for the same ops."""

import fcntl
import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from lep6.errors import AlreadyRunning

LOCK: Final = "lock"


@contextmanager
def only_one(data_dir: Path) -> Iterator[None]:
    """Hold the lock of a data directory, which is made if there is none. It goes with the process, however that ends.

    Raises:
        AlreadyRunning: another process holds it.
        OSError: the directory cannot be made or written.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(f"{data_dir} is in use by {_holder(descriptor)}: stop it first") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def only_user(key: Path) -> Iterator[None]:
    """Be the only lep6 that uses a key, which lies in a file, however its place is spelled.

    Raises:
        AlreadyRunning: another process uses it.
        OSError: the file cannot be read.
    """
    descriptor = os.open(key, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(f"another lep6 heals with the key in {key}: stop it") from error
        yield
    finally:
        os.close(descriptor)


@contextmanager
def only_one_for(account: str, chain_id: str, node: str) -> Iterator[None]:
    """Be the only lep6 of this machine that signs for an account of a chain, whatever its directory.

    `node`: of the chain, as it is configured; two chains of one id (devnets) are told apart by it.

    Raises:
        AlreadyRunning: another process is.
    """
    name = hashlib.sha256(f"{account}\n{chain_id}\n{node}".encode()).hexdigest()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as held:
        try:
            held.bind(f"\0lep6/{name}")  # abstract: there is no file that could be left behind
        except OSError as error:
            raise AlreadyRunning(f"another lep6 on this machine heals as {account} of {chain_id}: stop it") from error
        yield


def _holder(descriptor: int) -> str:
    with suppress(OSError, ValueError):
        return f"process {int(os.pread(descriptor, 32, 0))}"
    return "another process"
