"""What a transaction may cost (chain contract §2.5)."""

from math import ceil, inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lep6.chain.gas import DENOM, GasPolicy


@pytest.mark.parametrize(
    ("used", "outs", "limit", "fee"),
    [
        (81_234, 0, 155_604, 3_891),
        (100_000, 0, 180_000, 4_500),
        (100_000, 1, 219_000, 5_475),
        (123_457, 2, 321_235, 8_031),
    ],
)
def test_limits_and_fees_are_those_of_the_go_client(used, outs, limit, fee):
    policy = GasPolicy()
    assert policy.limit(used, outs=outs) == limit
    assert policy.fee(limit) == fee


def test_fees_are_paid_in_ulume():
    assert DENOM == "ulume"


def test_the_adjustment_grows_twice_and_no_more():
    policy = GasPolicy(padding=0)
    assert [policy.limit(1_000_000, outs=outs) for outs in range(6)] == [
        1_300_000,
        1_690_000,
        2_197_000,
        2_197_000,
        2_197_000,
        2_197_000,
    ]


def test_it_grows_as_often_as_the_attempts_allow():
    assert GasPolicy(attempts=1).limit(1_000, outs=9) == GasPolicy().limit(1_000)
    ten = GasPolicy(attempts=10, escalation=2, adjustment=1, padding=0)
    assert [ten.limit(1, outs=outs) for outs in (8, 9, 10, 10**9)] == [256, 512, 512, 512]


def test_the_least_fee_is_one():
    assert GasPolicy(price=1e-9).fee(1) == 1
    assert GasPolicy(price=1e-9).fee(0) == 1


@given(st.integers(1, 10**9), st.integers(0, 20))
def test_the_fee_covers_the_limit_and_the_limit_what_was_used(used, outs):
    policy = GasPolicy()
    limit = policy.limit(used, outs=outs)
    assert limit >= used + policy.padding
    assert policy.fee(limit) == max(1, ceil(0.025 * limit))


@pytest.mark.parametrize(
    "options",
    [
        {"price": 0},
        {"price": -0.025},
        {"price": nan},
        {"adjustment": 0.99},
        {"adjustment": nan},
        {"escalation": 1.0},
        {"escalation": nan},
        {"attempts": 0},
        {"attempts": 11},
        {"padding": -1},
    ],
)
def test_what_is_out_of_bounds_is_refused(options):
    with pytest.raises(ValueError):
        GasPolicy(**options)


@pytest.mark.parametrize("options", [{"attempts": 1}, {"attempts": 10}, {"adjustment": 1}, {"padding": 0}])
def test_the_bounds_themselves_are_allowed(options):
    assert GasPolicy(**options).limit(100) >= 100


def test_attempts_are_a_number_whatever_comes_of_it():
    with pytest.raises((TypeError, ValueError)):
        GasPolicy(attempts=inf)
