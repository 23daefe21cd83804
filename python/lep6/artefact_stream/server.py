"""The healer's end: serves staged files to the verifiers of their ops, and to nobody else."""

import errno
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, final

import trio
from attrs import define, field
from grpclib.const import Status

from lep6 import _core
from lep6.artefact_stream.response import Response
from lep6.cascade.staging import Staged, open_staged
from lep6.errors import ChainUnavailable, InvalidArtefact, RpcRefused
from lep6.grpc import Request, ServiceBase
from lep6.heal.hashes import is_same_hash
from lep6.model import HealOp, HealOpStatus
from lep6.observe import get_logger
from lep6.once import Once
from lep6.ports import Blocking, HealOps, IdentityResolver
from lep6.wire import supernode as wire

log = get_logger("artefact_stream.server")

CHUNK_SIZE: Final = 1 << 20
STREAMS_PER_CALLER: Final = 2
STREAMS: Final = 16
"""In all; some 3 MiB of memory each."""
READER_SECONDS: Final = 300.0
"""How long a reader may leave a chunk waiting; then its place is for others."""
CHAIN_SECONDS: Final = 10.0
"""How long the chain may take to answer."""
LOCAL_TROUBLE: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""What the system lacks for the moment is no damage of a staging."""


@final
@define(eq=False)
class ArtefactService(ServiceBase, wire.SelfHealingServiceBase):
    """Serves the stagings of one node. A host mounts it on a `lep6.grpc.Server`."""

    account: str
    """Of this node, the healer."""
    root: Path
    """Where stagings lie."""
    heal_ops: HealOps
    identities: IdentityResolver
    blocking: Blocking
    streams_per_caller: int = STREAMS_PER_CALLER
    streams: int = STREAMS
    reply_seconds: float = READER_SECONDS
    chunk_size: int = CHUNK_SIZE
    """Bytes of a chunk; no peer takes more than the usual ones for granted."""
    damaged: Callable[[int], object] = field(default=lambda _: None)
    """Hears the id of an op whose staging was found damaged."""
    _open: Counter[str] = field(factory=Counter)
    _questions: Once[int, HealOp | ChainUnavailable | None] = field(factory=Once)

    async def serve_reconstructed_artefacts(
        self, message: wire.ServeReconstructedArtefactsRequest
    ) -> AsyncGenerator[Response, None]:
        """Stream the file of an op. What is refused, and how, is in docs/formats.md, "Artefact stream"."""
        if not message.heal_op_id:
            raise RpcRefused(Status.INVALID_ARGUMENT, "the request names no heal op")
        caller = self.identities.resolve(Request.current().transport)
        if not caller:
            raise RpcRefused(Status.UNAUTHENTICATED, "the caller is not identified")
        op = await self._authorised(message.heal_op_id, caller)
        with self._admitted(caller):
            staged = await self._staged(op)
            with await self.blocking.run(partial(self._opened, op, staged)) as file:
                served = _Served(op, staged, file, self.chunk_size)
                while not served.is_over:
                    yield await self._next(served, op)
        log.info("artefacts_served", op_id=op.op_id, ticket=op.ticket, verifier=caller, bytes=staged.manifest.size)

    async def _next(self, served: "_Served", op: HealOp) -> Response:
        try:
            return await self.blocking.run(served.next_message)
        except RpcRefused:
            self.damaged(op.op_id)
            raise

    @contextmanager
    def _admitted(self, caller: str) -> Iterator[None]:
        """A place among the streams of the caller, and among all."""
        if self._open[caller] >= self.streams_per_caller or self._open.total() >= self.streams:
            raise RpcRefused(Status.RESOURCE_EXHAUSTED, "too many streams are open; try again later")
        self._open[caller] += 1
        try:
            yield
        finally:
            self._open[caller] -= 1
            if not self._open[caller]:
                del self._open[caller]

    async def _authorised(self, op_id: int, caller: str) -> HealOp:
        """The op, of which the caller is a verifier.

        Strangers take no place, and the chain is asked only about ops of which something is here, of each once at a
        time: a flood of calls cannot keep the questions of verifiers waiting.
        """
        if await self.blocking.run(partial(self._is_absent, op_id)):
            raise _nothing(op_id)
        op = await self._questions.ask(op_id, partial(self._ask, op_id))
        if isinstance(op, ChainUnavailable):
            log.warning("chain_unavailable", op_id=op_id, reason=str(op))
            raise RpcRefused(Status.UNAVAILABLE, "the chain does not answer")
        if op is None:
            raise RpcRefused(Status.NOT_FOUND, f"the chain knows no heal op {op_id}")
        if op.healer != self.account:
            raise RpcRefused(Status.FAILED_PRECONDITION, f"this node is not the healer of heal op {op_id}")
        if op.status is not HealOpStatus.HEALER_REPORTED:
            raise RpcRefused(Status.FAILED_PRECONDITION, f"heal op {op_id} is {op.status.name}, not HEALER_REPORTED")
        if caller not in op.verifiers:
            raise RpcRefused(Status.PERMISSION_DENIED, f"the caller is no verifier of heal op {op_id}")
        return op

    def _is_absent(self, op_id: int) -> bool:
        """Whether nothing is staged for an op, for certain."""
        return not (self.root / str(op_id)).exists() and self.root.is_dir()

    async def _ask(self, op_id: int) -> HealOp | ChainUnavailable | None:
        try:
            with trio.fail_after(CHAIN_SECONDS):
                return (await self.heal_ops.heal_op(op_id)).value
        except ChainUnavailable as error:
            return error
        except trio.TooSlowError:
            return ChainUnavailable(f"no answer within {CHAIN_SECONDS:g} s")

    async def _staged(self, op: HealOp) -> Staged:
        try:
            staged = await open_staged(self.root, str(op.op_id), blocking=self.blocking)
        except FileNotFoundError as error:
            raise _nothing(op.op_id) from error
        except (InvalidArtefact, OSError) as error:
            raise self._trouble(op, error) from error
        if staged.manifest.ticket != op.ticket:
            raise self._unfit(op, f"it is that of ticket {staged.manifest.ticket}")
        if not is_same_hash(staged.manifest.manifest_hash, op.result_hash):
            raise self._unfit(op, f"its hash is {staged.manifest.manifest_hash}, not what was claimed")
        return staged

    def _opened(self, op: HealOp, staged: Staged) -> BinaryIO:
        try:
            return staged.reconstructed.open("rb")
        except OSError as error:
            raise self._trouble(op, error) from error

    def _trouble(self, op: HealOp, error: Exception) -> RpcRefused:
        """The refusal of a staging that could not be opened: gone meanwhile, out of reach for now, or damaged."""
        if self._is_absent(op.op_id):
            return _nothing(op.op_id)
        if isinstance(error, OSError) and error.errno in LOCAL_TROUBLE:
            log.warning("staging_out_of_reach", op_id=op.op_id, reason=str(error))
            return RpcRefused(Status.UNAVAILABLE, "the node is overloaded; try again later")
        return self._unfit(op, error)

    def _unfit(self, op: HealOp, reason: object) -> RpcRefused:
        self.damaged(op.op_id)
        return _damaged(op, reason)


class _Served:
    """A file on its way out: hashed as it goes, so that its last chunk leaves only when all of it was true."""

    def __init__(self, op: HealOp, staged: Staged, file: BinaryIO, chunk_size: int) -> None:
        self._op = op
        self._chunk_size = chunk_size
        self._size = staged.manifest.size
        self._digest = staged.digest
        self._file = file
        self._sent = 0
        self._hasher = _core.Hasher()

    @property
    def is_over(self) -> bool:
        """Whether the last message was made."""
        return self._sent == self._size

    def next_message(self) -> Response:
        """The next message of the stream."""
        try:
            chunk = self._file.read(min(self._chunk_size, self._size - self._sent))
        except OSError as error:
            raise _damaged(self._op, error) from error
        if not chunk:
            raise _damaged(self._op, f"it ends after {self._sent} of {self._size} bytes")
        total_size = 0 if self._sent else self._size
        self._sent += len(chunk)
        self._hasher.update(chunk)
        if self.is_over and self._hasher.digest() != self._digest:
            raise _damaged(self._op, "its hash is not that of its manifest")
        return Response(chunk=chunk, total_size=total_size, is_last=self.is_over)


def _nothing(op_id: int) -> RpcRefused:
    return RpcRefused(Status.NOT_FOUND, f"nothing is staged for heal op {op_id}")


def _damaged(op: HealOp, reason: object) -> RpcRefused:
    """The refusal of a damaged staging; what is wrong with it is for the log of this node only."""
    log.error("staging_damaged", op_id=op.op_id, ticket=op.ticket, reason=str(reason))
    return RpcRefused(Status.DATA_LOSS, f"what is staged for heal op {op.op_id} is damaged")
