"""What the chain in a box knows of its heal ops, and all that has happened on it, as one message."""

from lep6.devnet.chain import Chain, Tx, TxResult
from lep6.devnet.chain_server.records import event_message, op_message, ticket_message
from lep6.transaction import Claim
from lep6.wire.lep6.devnet.v1 import ChronicleResponse, Included, Told


def chronicle_message(chain: Chain) -> ChronicleResponse:
    """The chain's story up to now."""
    state = chain.state
    return ChronicleResponse(
        height=state.height,
        epoch_id=state.epoch.epoch_id,
        heal_ops=[op_message(op) for op in state.ops.values()],
        tickets=[ticket_message(ticket) for ticket in state.tickets.values()],
        included=[_included(tx, result) for tx, result in chain.included],
        events=[Told(event.height, event_message(event)) for event in chain.events],
    )


def _included(tx: Tx, result: TxResult) -> Included:
    says = tx.message
    if isinstance(says, Claim):
        return Included(tx.creator, result.code, says.op_id, says.manifest_hash, is_claim=True)
    return Included(tx.creator, result.code, says.op_id, says.hash, verified=says.verified)
