"""What tests of the chain server share."""

import pytest

from chainserver import Stranger, chain_with_op, server_of


@pytest.fixture(scope="module")
def stranger():
    """A client by grpcio and Google's protobuf."""
    started = Stranger()
    yield started
    started.end()


@pytest.fixture
def chain():
    return chain_with_op()


@pytest.fixture
def server(chain):
    return server_of(chain)
