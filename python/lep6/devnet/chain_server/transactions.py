"""`cosmos.tx.v1beta1.Service` (chain contract §1.7, §2.4, §2.7)."""

from typing import Final, final

from grpclib.const import Status

from lep6.devnet.chain import Chain, QueryError, Tx, TxResult
from lep6.devnet.chain.ante import out_of_gas
from lep6.devnet.chain.execution import ANTE_PLACE
from lep6.devnet.chain.failures import DESCRIPTIONS, SDK, TxFailed, in_simulation
from lep6.devnet.chain.transactions import hash_of
from lep6.devnet.chain_server.asked import asked
from lep6.devnet.chain_server.decoding import CLAIM_URL, VOTE_URL, decode_tx
from lep6.devnet.chain_server.faults import (
    CheckRefused,
    Dropped,
    FailsInBlock,
    Faults,
    Late,
    NoIndex,
    OutOfGas,
    SequenceMismatch,
)
from lep6.devnet.chain_server.records import event_message, moment
from lep6.grpc import ServiceBase
from lep6.transaction import Claim
from lep6.wire.cosmos.base.abci.v1beta1 import GasInfo, Result, TxResponse
from lep6.wire.cosmos.tx.v1beta1 import (
    AuthInfo,
    BroadcastMode,
    BroadcastTxRequest,
    BroadcastTxResponse,
    GetTxRequest,
    GetTxResponse,
    SimulateRequest,
    SimulateResponse,
    TxBody,
    TxRaw,
)
from lep6.wire.cosmos.tx.v1beta1 import ServiceBase as TxBase
from lep6.wire.cosmos.tx.v1beta1 import Tx as TxMessage
from lep6.wire.google.protobuf import Any

SIMULATE: Final = "/cosmos.tx.v1beta1.Service/Simulate"
BROADCAST: Final = "/cosmos.tx.v1beta1.Service/BroadcastTx"
GET: Final = "/cosmos.tx.v1beta1.Service/GetTx"

NO_INDEX: Final = "transaction indexing is disabled"

_MODES: Final = (BroadcastMode.SYNC, BroadcastMode.ASYNC)
_TX_URL: Final = "/cosmos.tx.v1beta1.Tx"
_HASH_SIZE: Final = 32
_WITHOUT_LOG: Final = frozenset({(SDK, 19), (SDK, 20), (SDK, 21)})
"""What the mempool itself refuses, and not CheckTx: the SDK makes a response with the code, and no more."""


@final
class Transactions(ServiceBase, TxBase):
    """Simulating, sending and looking up transactions."""

    def __init__(self, chain: Chain, faults: Faults) -> None:
        super().__init__()
        self._chain = chain
        self._faults = faults

    async def simulate(self, message: SimulateRequest) -> SimulateResponse:
        """The gas that a transaction would use.

        Raises:
            QueryError: UNKNOWN, it would fail, or cannot be read; INVALID_ARGUMENT, there is none.
        """
        if not message.tx_bytes:
            raise QueryError(Status.INVALID_ARGUMENT, "empty txBytes is not allowed")
        try:
            tx = decode_tx(message.tx_bytes)
            if self._faults.take(OutOfGas, SIMULATE, tx.creator) is not None:
                raise out_of_gas(tx, self._chain.gas.ante)
            self._mismatch(SIMULATE, tx)
        except TxFailed as failure:
            used = self._chain.gas.ante if (failure.codespace, failure.code) in ((SDK, 11), (SDK, 32)) else 0
            raise QueryError(Status.UNKNOWN, in_simulation(str(failure), ANTE_PLACE, used)) from failure
        used = self._chain.simulate(tx)
        answer = Any(f"{CLAIM_URL if isinstance(tx.message, Claim) else VOTE_URL}Response")
        return SimulateResponse(GasInfo(tx.gas_limit, used), Result(msg_responses=[answer]))

    async def broadcast_tx(self, message: BroadcastTxRequest) -> BroadcastTxResponse:
        """Check a transaction and let it wait for a block. Only in SYNC mode is it told what came of that.

        Raises:
            QueryError: INVALID_ARGUMENT, there is none; UNKNOWN, the mode is another.
        """
        if not message.tx_bytes:
            raise QueryError(Status.INVALID_ARGUMENT, "invalid empty tx")
        if message.mode not in _MODES:
            raise QueryError(Status.UNKNOWN, "unsupported return type ; supported types: sync, async")
        result, tx_hash = self._broadcast(message.tx_bytes)
        if message.mode == BroadcastMode.ASYNC:
            return BroadcastTxResponse(TxResponse(txhash=tx_hash))
        log = "" if (result.codespace, result.code) in _WITHOUT_LOG else result.log
        response = TxResponse(txhash=tx_hash, codespace=result.codespace, code=result.code, raw_log=log)
        return BroadcastTxResponse(response)

    async def get_tx(self, message: GetTxRequest) -> GetTxResponse:
        """What became of a transaction in a block.

        Raises:
            QueryError: NOT_FOUND, no block that the answering node knows has it; UNKNOWN, the node has no index, or the
                hash is none; INVALID_ARGUMENT, the hash is empty.
        """
        if not message.hash:
            raise QueryError(Status.INVALID_ARGUMENT, "tx hash cannot be empty")
        _check_hash(message.hash)
        if self._faults.take(NoIndex, GET) is not None:
            # A plain error of the node's RPC, which the SDK hands on: gRPC makes UNKNOWN of it.
            raise QueryError(Status.UNKNOWN, NO_INDEX)
        result = asked().tx(message.hash)
        tx = _tx_message(result.tx) if result.tx is not None else None
        response = TxResponse(
            height=result.height,
            txhash=message.hash.upper(),
            codespace=result.codespace,
            code=result.code,
            raw_log=result.log,
            gas_wanted=result.gas_wanted,
            gas_used=result.gas_used,
            tx=Any(_TX_URL, bytes(tx)) if tx is not None else None,
            timestamp=f"{moment(result.time):%Y-%m-%dT%H:%M:%SZ}",
            events=[event_message(event) for event in result.events],
        )
        return GetTxResponse(tx, response)

    def _broadcast(self, raw: bytes) -> tuple[TxResult, str]:
        """What CheckTx says of a transaction, and its hash; then what a fault makes of it."""
        tx_hash = hash_of(raw)
        try:
            tx = decode_tx(raw)
            refused = self._faults.take(CheckRefused, BROADCAST, tx.creator)
            if refused is not None:
                return TxResult(refused.code, refused.codespace, _log(refused)), tx_hash
            self._mismatch(BROADCAST, tx)
        except TxFailed as failure:
            return TxResult(failure.code, failure.codespace, str(failure)), tx_hash
        result = self._chain.submit(tx)
        if result.code == 0:
            self._spoil(tx)
        return result, tx_hash

    def _mismatch(self, path: str, tx: Tx) -> None:
        """Refuse a transaction for its sequence, if that is ordered."""
        fault = self._faults.take(SequenceMismatch, path, tx.creator)
        if fault is not None:
            expected = tx.sequence + 1 if fault.expected is None else fault.expected
            raise TxFailed(SDK, 32, f"account sequence mismatch, expected {expected}, got {tx.sequence}")

    def _spoil(self, tx: Tx) -> None:
        """What happens to a transaction that waits, as far as it is ordered."""
        if self._faults.take(OutOfGas, BROADCAST, tx.creator) is not None:
            failure = out_of_gas(tx, tx.gas_limit + 1)
            self._chain.fail_in_block(tx.tx_hash, failure.code, failure.codespace, str(failure))
        failing = self._faults.take(FailsInBlock, BROADCAST, tx.creator)
        if failing is not None:
            self._chain.fail_in_block(tx.tx_hash, failing.code, failing.codespace, _log(failing))
        late = self._faults.take(Late, BROADCAST, tx.creator)
        if late is not None:
            self._chain.hold(tx.tx_hash, late.blocks)
        if self._faults.take(Dropped, BROADCAST, tx.creator) is not None:
            self._chain.drop(tx.tx_hash)


def _log(fault: CheckRefused | FailsInBlock) -> str:
    return fault.log or DESCRIPTIONS.get((fault.codespace, fault.code), "")


def _check_hash(text: str) -> None:
    """Refuse what is no hash, as Go's reader of hexadecimal digits does."""
    try:
        size = len(bytes.fromhex(text))
    except ValueError as error:
        raise QueryError(Status.UNKNOWN, f"encoding/hex: invalid hexadecimal: {text:.80}") from error
    if size != _HASH_SIZE:
        raise QueryError(Status.NOT_FOUND, f"tx not found: {text:.80}")


def _tx_message(tx: Tx) -> TxMessage | None:
    """A transaction as GetTx shows it; `None` for one that did not come over the wire."""
    if tx.encoded is None:
        return None
    raw = TxRaw.parse(tx.encoded)
    return TxMessage(TxBody.parse(raw.body_bytes), AuthInfo.parse(raw.auth_info_bytes), raw.signatures)
