"""A chain server for tests, and what a stranger has to talk to it: Google's messages, other people's signatures."""

import functools
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import bech32
import ecdsa
import trio
import trio.testing
from attrs import field, frozen
from Crypto.Hash import RIPEMD160, keccak
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from lep6.devnet.chain import Chain, ChainParams, OpRecord
from lep6.devnet.chain_server import ChainServer
from lep6.grpc import open_channel
from lep6.model import HealOpStatus, Ticket
from lep6.wire.cosmos.tx.v1beta1 import (
    BroadcastMode,
    BroadcastTxRequest,
    GetTxRequest,
    ServiceStub,
    SimulateRequest,
)

PROTO = Path(__file__).parents[1] / "proto"
PEER = Path(__file__).parent / "devnet" / "chain_server" / "peer_grpcio.py"
PATIENCE = 30.0
"""Seconds for whatever is asked of another process."""
CHAIN_ID = "lumera-devnet-1"
HASH = "aAKLMGGtZ7UGhmC0EhChhRKdXlJrA2gM3DjAuc4Xro4="
OTHER_HASH = "jZpTqqC3PvKzLANbBm4mz/IzIlyAc24zeXmPfJwJI90="


# Google's reading of our .proto files


@functools.cache
def descriptors() -> bytes:
    """What protoc makes of all of them: a `FileDescriptorSet`."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "set"
        files = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
        command = [sys.executable, "-W", "ignore", "-m", "grpc_tools.protoc", "-I", "."]
        subprocess.run([*command, "--include_imports", f"--descriptor_set_out={out}", *files], cwd=PROTO, check=True)
        return out.read_bytes()


@functools.cache
def pool() -> descriptor_pool.DescriptorPool:
    made = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors()).file:
        made.Add(file)
    return made


def kind(name: str):
    """The class of a message by its full name; `cosmos.tx.v1beta1.` may be left out."""
    full = name if "." in name else f"cosmos.tx.v1beta1.{name}"
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(full))


# Other people's keys


@frozen
class Key:
    """An account's key, by libraries that lep6 does not use."""

    secret: bytes
    is_eth: bool

    @property
    def signing_key(self):
        return ecdsa.SigningKey.from_string(self.secret, ecdsa.SECP256k1)

    @property
    def compressed(self) -> bytes:
        return self.signing_key.verifying_key.to_string("compressed")

    @property
    def address(self) -> str:
        if self.is_eth:
            raw = _keccak(self.signing_key.verifying_key.to_string())[-20:]
        else:
            raw = RIPEMD160.new(hashlib.sha256(self.compressed).digest()).digest()
        return bech32.bech32_encode("lumera", bech32.convertbits(raw, 8, 5))

    @property
    def url(self) -> str:
        return "/cosmos.evm.crypto.v1.ethsecp256k1.PubKey" if self.is_eth else "/cosmos.crypto.secp256k1.PubKey"

    def digest(self, data: bytes) -> bytes:
        return _keccak(data) if self.is_eth else hashlib.sha256(data).digest()

    def sign(self, data: bytes) -> bytes:
        """64 bytes, S in the lower half."""
        made = self.signing_key.sign_digest_deterministic(
            self.digest(data), hashlib.sha256, sigencode=ecdsa.util.sigencode_string_canonize
        )
        assert len(made) == 64
        return made


def _keccak(data: bytes) -> bytes:
    return keccak.new(digest_bits=256, data=data).digest()


def key(name: str, is_eth: bool = True) -> Key:
    return Key(hashlib.sha256(name.encode()).digest(), is_eth)


HEALER, FIRST, SECOND, STRANGER = key("healer"), key("first", is_eth=False), key("second"), key("stranger")
VECTOR = Key(bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"), is_eth=True)
"""Of chain contract §2.8."""


# Transactions by hand


def claim(creator: str, op_id: int = 1, ticket: str = "42", manifest_hash: str = HASH, details: str = ""):
    return kind("lumera.audit.v1.MsgClaimHealComplete")(
        creator=creator, heal_op_id=op_id, ticket_id=ticket, heal_manifest_hash=manifest_hash, details=details
    )


def vote(creator: str, op_id: int = 1, verified: bool = True, hash_: str = HASH, details: str = ""):
    return kind("lumera.audit.v1.MsgSubmitHealVerification")(
        creator=creator, heal_op_id=op_id, verified=verified, verification_hash=hash_, details=details
    )


def packed(message):
    return {"type_url": f"/{message.DESCRIPTOR.full_name}", "value": message.SerializeToString()}


@frozen(kw_only=True)
class Draft:
    """A transaction before it is written down; every part can be made wrong."""

    signer: Key
    messages: tuple
    sequence: int = 0
    number: int = 0
    chain_id: str = CHAIN_ID
    gas: int = 200_000
    fee: int = 5_000
    mode: int = 1
    shows: Key | None = None
    """The key that it shows, if not the signer's."""
    shows_key: bool = True
    body: dict = field(factory=dict)
    fees: dict = field(factory=dict)

    def parts(self) -> tuple[bytes, bytes]:
        shown = self.shows or self.signer
        public = {"type_url": shown.url, "value": b"\x0a\x21" + shown.compressed}
        signer = {"mode_info": {"single": {"mode": self.mode}}, "sequence": self.sequence}
        if self.shows_key:
            signer["public_key"] = public
        amount = [{"denom": "ulume", "amount": str(self.fee)}] if self.fee else []
        fee = {"amount": amount, "gas_limit": self.gas, **self.fees}
        body = kind("TxBody")(messages=[packed(message) for message in self.messages], **self.body)
        auth = kind("AuthInfo")(signer_infos=[signer], fee=fee)
        return body.SerializeToString(), auth.SerializeToString()

    def sign_bytes(self) -> bytes:
        body, auth = self.parts()
        document = kind("SignDoc")(
            body_bytes=body, auth_info_bytes=auth, chain_id=self.chain_id, account_number=self.number
        )
        return document.SerializeToString()

    def signature(self) -> bytes:
        return self.signer.sign(self.sign_bytes())

    def raw(self, *signatures: bytes) -> bytes:
        body, auth = self.parts()
        made = kind("TxRaw")(body_bytes=body, auth_info_bytes=auth, signatures=signatures or [self.signature()])
        return made.SerializeToString()


def tx_hash(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest().upper()


# A server


NUMBERS = {HEALER: 0, FIRST: 1, SECOND: 2, STRANGER: 3}
"""Account numbers of the keys that a chain of `chain_with_op` knows."""


def op(op_id: int = 1, status: HealOpStatus = HealOpStatus.SCHEDULED, **changes) -> OpRecord:
    fields = {
        "ticket": Ticket("42"),
        "healer": HEALER.address,
        "verifiers": (FIRST.address, SECOND.address),
        "scheduled_epoch": 0,
        "deadline_epoch": 3,
        "created_height": 1,
        "updated_height": 1,
    }
    return OpRecord(op_id=op_id, status=status, **{**fields, **changes})


def chain_with_op(**options) -> Chain:
    """A chain after its first block, with an op and accounts that can pay."""
    chain = Chain(genesis_params=ChainParams(epoch_length=10), genesis_time=1_700_000_000.0, **options)
    for owner in NUMBERS:
        chain.add_account(owner.address, 10**9)
    for owner in (HEALER, FIRST, SECOND):
        chain.add_supernode(owner.address, host="10.0.0.1")
    chain.set_op(op())
    chain.make_block(1_700_000_006.0)
    return chain


def draft(signer: Key, *messages, chain: Chain | None = None, **changes) -> Draft:
    """A transaction that is in order, after those that wait."""
    sequence = 0
    if chain is not None:
        waiting = sum(tx.creator == signer.address for tx in chain.mempool())
        sequence = chain.state.accounts[signer.address].sequence + waiting
    fields = {"number": NUMBERS.get(signer, 0), "sequence": sequence}
    return Draft(signer=signer, messages=messages, **{**fields, **changes})


class Dated:
    """A clock that starts in 2023 and goes by Trio's."""

    def now(self) -> float:
        return 1_700_000_000.0 + trio.current_time()


def server_of(chain: Chain, **options) -> ChainServer:
    """A server that makes blocks on demand only."""
    return ChainServer(chain, **{"block_seconds": None, "clock": Dated(), **options})


@asynccontextmanager
async def connected(server: ChainServer):
    """A channel to a server, in memory. Its blocks go on for as long."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_stream, theirs)
        async with server.running(), open_channel(ours) as channel:
            yield channel
        nursery.cancel_scope.cancel()


async def broadcast(channel, raw: bytes):
    """What BroadcastTx says."""
    answer = await ServiceStub(channel).broadcast_tx(BroadcastTxRequest(raw, BroadcastMode.SYNC))
    return answer.tx_response


async def simulated(channel, raw: bytes) -> int:
    """The gas of a simulation."""
    return (await ServiceStub(channel).simulate(SimulateRequest(raw))).gas_info.gas_used


async def looked_up(channel, raw: bytes):
    """What GetTx says."""
    return (await ServiceStub(channel).get_tx(GetTxRequest(tx_hash(raw)))).tx_response


# A stranger


class Stranger:
    """grpcio with Google's messages, in a process of its own."""

    def __init__(self) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, PEER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=dict(os.environ)
        )
        self._unread = b""
        self._write({"descriptors": descriptors().hex()})

    def _write(self, command: dict) -> None:
        os.write(self.popen.stdin.fileno(), f"{len(line := json.dumps(command).encode())}\n".encode())
        view = memoryview(line)
        while view:
            view = view[os.write(self.popen.stdin.fileno(), view) :]

    async def ask(self, address: tuple[str, int], method: str, request: dict | None = None, **metadata: str) -> dict:
        """Call a method; its reply as JSON, or its status, and the height in its headers."""
        headers = [[name.replace("_", "-"), value] for name, value in metadata.items()]
        self._write({"address": address, "method": method, "request": request or {}, "metadata": headers})
        with trio.fail_after(PATIENCE):
            while b"\n" not in self._unread:
                await trio.lowlevel.wait_readable(self.popen.stdout)
                data = os.read(self.popen.stdout.fileno(), 1 << 16)
                assert data, "the process has ended"
                self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return json.loads(line)

    def end(self) -> None:
        self.popen.kill()
        self.popen.wait()
        self.popen.stdin.close()
        self.popen.stdout.close()
