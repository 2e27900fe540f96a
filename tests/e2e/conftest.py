"""Stacks for these tests."""

import random

import gateway
import local_stack
import pytest


@pytest.fixture(scope="session")
def run_stack():
    """Start a stack with these settings for the length of a block."""
    return local_stack.running


@pytest.fixture
def dice() -> random.Random:
    """Chance that can be repeated."""
    return gateway.dice("E2E_SEED")
