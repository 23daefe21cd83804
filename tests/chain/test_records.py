"""The chain's records as values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain_wire import KEY, ME
from lep6.chain import records
from lep6.errors import InvalidMessage
from lep6.keys import KeyKind, PrivateKey, PublicKey
from lep6.model import Action, ActionState, EnforcementMode, HealOp, HealOpStatus, Parameters, Ticket
from lep6.wire.cosmos.auth import v1beta1 as auth
from lep6.wire.cosmos.vesting import v1beta1 as vesting
from lep6.wire.google import protobuf
from lep6.wire.lumera.action import v1 as action
from lep6.wire.lumera.audit import v1 as audit

OP = audit.HealOp(
    heal_op_id=7,
    ticket_id="42",
    scheduled_epoch_id=3,
    healer_supernode_account="lumera1healer",
    verifier_supernode_accounts=["lumera1b", "lumera1a"],
    status=audit.HealOpStatus.HEALER_REPORTED,
    created_height=1600,
    updated_height=1650,
    deadline_epoch_id=6,
    result_hash="aAKL",
    notes="one | two",
)
ETH_URL, COSMOS_URL = "/cosmos.evm.crypto.v1.ethsecp256k1.PubKey", "/cosmos.crypto.secp256k1.PubKey"
COMPRESSED = KEY.public.compressed
PUBLIC = PublicKey(KeyKind.COSMOS, COMPRESSED)


def again(message):
    """As it comes over the wire."""
    return type(message).parse(bytes(message))


def packed_key(url=COSMOS_URL, value=b"\x0a\x21" + COMPRESSED):
    return protobuf.Any(type_url=url, value=value)


BASE = auth.BaseAccount(ME, packed_key(), 12, 5)


def test_a_heal_op_is_read():
    assert records.heal_op(again(OP)) == HealOp(
        op_id=7,
        ticket=Ticket("42"),
        healer="lumera1healer",
        verifiers=("lumera1b", "lumera1a"),
        status=HealOpStatus.HEALER_REPORTED,
        result_hash="aAKL",
        scheduled_epoch=3,
        deadline_epoch=6,
    )


@pytest.mark.parametrize("status", HealOpStatus)
def test_every_status_of_an_op_is_read(status):
    record = audit.HealOp(heal_op_id=1, healer_supernode_account="a", status=audit.HealOpStatus(int(status)))
    assert records.heal_op(again(record)).status is status


@pytest.mark.parametrize("status", [7, 99, 2**31 - 1])
def test_a_status_that_is_new_is_unspecified(status):
    record = audit.HealOp(heal_op_id=1, healer_supernode_account="a", status=audit.HealOpStatus(status))
    assert records.heal_op(again(record)).status is HealOpStatus.UNSPECIFIED


@pytest.mark.parametrize(
    "record",
    [
        audit.HealOp(),
        audit.HealOp(healer_supernode_account="a", ticket_id="42"),
        audit.HealOp(heal_op_id=7, ticket_id="42"),
    ],
)
def test_an_op_without_id_or_healer_is_none(record):
    with pytest.raises(InvalidMessage):
        records.heal_op(again(record))


@pytest.mark.parametrize("mode", EnforcementMode)
def test_parameters_are_read(mode):
    record = audit.Params(
        epoch_length_blocks=400,
        epoch_zero_height=17,
        storage_truth_enforcement_mode=audit.StorageTruthEnforcementMode(int(mode)),
    )
    assert records.parameters(again(record)) == Parameters(mode, 17, 400)


def test_parameters_without_an_epochs_length_are_none():
    with pytest.raises(InvalidMessage, match="epochs without blocks"):
        records.parameters(audit.Params(epoch_zero_height=1))


def test_a_mode_that_is_new_is_not_guessed():
    record = audit.Params(epoch_length_blocks=400, storage_truth_enforcement_mode=audit.StorageTruthEnforcementMode(4))
    with pytest.raises(InvalidMessage, match="mode 4"):
        records.parameters(again(record))


@pytest.mark.parametrize("state", ActionState)
def test_an_action_is_read(state):
    record = action.Action(
        creator=ME,
        action_id="42",
        action_type=action.ActionType.CASCADE,
        metadata=b"\x0a\x01x",
        state=action.ActionState(int(state)),
        super_nodes=["lumera1a"],
        app_pubkey=COMPRESSED,
    )
    assert records.cascade_action(again(record)) == Action(Ticket("42"), ME, state, b"\x0a\x01x", COMPRESSED)


def test_a_state_that_is_new_is_unspecified():
    record = action.Action(action_type=action.ActionType.CASCADE, action_id="1", state=action.ActionState(8))
    assert records.cascade_action(again(record)).state is ActionState.UNSPECIFIED


@pytest.mark.parametrize("kind", [0, 1, 3, 2**31 - 1])
def test_an_action_of_another_type_is_none(kind):
    with pytest.raises(InvalidMessage, match="not a Cascade action"):
        records.cascade_action(again(action.Action(action_id="1", action_type=action.ActionType(kind))))


def test_keys_of_both_kinds_are_read():
    assert records.public_key(packed_key(COSMOS_URL)) == PublicKey(KeyKind.COSMOS, COMPRESSED)
    assert records.public_key(packed_key(ETH_URL)) == KEY.public
    assert records.public_key(packed_key(ETH_URL)).address == ME


@pytest.mark.parametrize(
    "packed",
    [
        None,
        protobuf.Any(),
        packed_key("/cosmos.crypto.ed25519.PubKey"),
        packed_key("/cosmos.crypto.multisig.LegacyAminoPubKey"),
        packed_key("/ethermint.crypto.v1.ethsecp256k1.PubKey"),
        packed_key(COSMOS_URL.removeprefix("/")),
        packed_key(value=b""),
        packed_key(value=COMPRESSED),
        packed_key(value=b"\x0a\x20" + COMPRESSED[:32]),
        packed_key(value=b"\x0a\x21" + COMPRESSED[:32]),
        packed_key(value=b"\x0a\x21" + COMPRESSED + b"\0"),
        packed_key(value=b"\x0a\x21" + b"\x05" + COMPRESSED[1:]),
        packed_key(value=b"\x0a\x21" + b"\x02" + b"\xff" * 32),
        packed_key(value=b"\x12\x21" + COMPRESSED),
    ],
)
def test_what_is_no_key_of_ours_is_none(packed):
    assert records.public_key(packed) is None


def vested(base):
    return vesting.AnyVestingAccount(vesting.BaseVestingAccount(base))


@pytest.mark.parametrize(
    ("url", "account"),
    [
        ("/cosmos.auth.v1beta1.BaseAccount", BASE),
        *(
            (f"/cosmos.vesting.v1beta1.{kind}VestingAccount", vested(BASE))
            for kind in ("Continuous", "Delayed", "Periodic")
        ),
        ("/cosmos.vesting.v1beta1.PermanentLockedAccount", vested(BASE)),
    ],
)
def test_the_account_in_an_account_of_any_kind_is_read(url, account):
    # With fields of its kind that lep6 does not know.
    read = records.base_account(protobuf.Any(type_url=url, value=bytes(account) + b"\x98\x01\x05\xa2\x01\x02ab"))
    assert read is not None
    assert (read.address, read.account_number, read.sequence) == (ME, 12, 5)
    assert records.public_key(read.pub_key) == PUBLIC


def test_an_account_that_has_not_sent_anything_has_no_key():
    packed = protobuf.Any(type_url="/cosmos.auth.v1beta1.BaseAccount", value=bytes(auth.BaseAccount(ME, None, 12, 0)))
    read = records.base_account(packed)
    assert read is not None
    assert read.pub_key is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/ibc.applications.interchain_accounts.v1.InterchainAccount",
        "/cosmos.auth.v1beta1.ModuleAccount",
        "cosmos.auth.v1beta1.BaseAccount",
    ],
)
def test_an_account_of_a_kind_without_a_key_is_none(url):
    assert records.base_account(protobuf.Any(type_url=url, value=bytes(BASE))) is None


def test_a_vesting_account_that_holds_none_is_none():
    url = "/cosmos.vesting.v1beta1.DelayedVestingAccount"
    assert records.base_account(protobuf.Any(type_url=url, value=b"")) is None
    assert records.base_account(protobuf.Any(type_url=url, value=bytes(vesting.AnyVestingAccount()))) is None


@pytest.mark.parametrize("url", ["/cosmos.auth.v1beta1.BaseAccount", "/cosmos.vesting.v1beta1.DelayedVestingAccount"])
@pytest.mark.parametrize("value", [b"\xff", b"\x0a\x7fx", b"\x0a\x02\xff\xfe", b"\x0b", bytes(BASE)[:-30]])
def test_an_account_of_rubbish_is_an_error(url, value):
    with pytest.raises(InvalidMessage):
        records.base_account(protobuf.Any(type_url=url, value=value))


@given(st.sampled_from([COSMOS_URL, ETH_URL, ""]), st.binary(max_size=40))
def test_no_bytes_break_the_reading_of_a_key(url, value):
    assert records.public_key(packed_key(url, value)) is None


@given(st.binary(max_size=60), st.sampled_from(["/cosmos.auth.v1beta1.BaseAccount", "/cosmos.vesting.v1beta1.X"]))
def test_no_bytes_break_the_reading_of_an_account(value, url):
    try:
        read = records.base_account(protobuf.Any(type_url=url, value=value))
    except InvalidMessage:
        return
    assert read is None or records.public_key(read.pub_key) is None


def test_a_key_is_of_the_kind_that_its_account_says():
    other = PrivateKey(KeyKind.COSMOS, KEY._secret).public
    assert records.public_key(packed_key(COSMOS_URL)) == other
    assert other.address != ME
