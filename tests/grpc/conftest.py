"""What all tests of gRPC share."""

import random

import pytest


@pytest.fixture(autouse=True)
def same_chances():
    """What is drawn by chance is the same in every run."""
    random.seed(0)
