"""Whole stacks as a user starts them, each with servers of its own."""

import random

import gateway
import pytest
import stack


@pytest.fixture(scope="session")
def run_stack():
    """Start a stack with these settings for the length of a block."""
    return stack.running


@pytest.fixture
def dice() -> random.Random:
    """Chance that can be repeated."""
    return gateway.dice("E2E_SEED")
