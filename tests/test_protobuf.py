"""Strict reading of messages: what is not one is refused, and refused as such."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lep6.errors import InvalidMessage
from lep6.protobuf import parse
from lep6.wire.cosmos.base.tendermint.v1beta1 import Header
from lep6.wire.cosmos.tx.v1beta1 import AuthInfo, Fee, TxBody

UNKNOWN = b"\xa0\x06\x01"
"""Field 100."""


def test_a_field_that_is_unknown_is_passed_over_unless_all_must_be_known():
    nested = b"\x12\x03" + UNKNOWN
    for message_type, data in [(Fee, UNKNOWN), (AuthInfo, nested)]:
        parse(message_type, data)
        with pytest.raises(InvalidMessage, match="field 100 is unknown"):
            parse(message_type, data, knows_all=True)


@pytest.mark.parametrize("time", [b"\x08", b"\xff", b"\x0a\x01\x00", b"\x3b\x00", b"\x08" + b"\xff" * 8 + b"\x3f"])
def test_a_time_that_is_none_is_refused(time):
    with pytest.raises(InvalidMessage):
        parse(Header, b"\x22" + bytes([len(time)]) + time)


@given(st.binary(max_size=20), st.booleans())
def test_whatever_stands_where_a_time_should_is_read_or_refused(time, knows_all):
    with suppress(InvalidMessage):
        assert isinstance(parse(TxBody, b"\x2a" + bytes([len(time)]) + time, knows_all=knows_all), TxBody)
