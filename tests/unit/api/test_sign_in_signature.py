"""Signatures made elsewhere: by other libraries, as their documents print them."""

import pytest

from reelgate_api.sign_in.signature import signer

# eth-account's documentation of recover_message.
TEXT = "I♥SF"
SIGNER = "0x5ce9454909639D2D17A3F753ce7d93fa0b9aB12E"
SIGNATURE = (
    "0xe6ca9bba58c88611fad66a6ce8f996908195593807c4b38bd528d2cff09d4eb3"
    "3e5bfbbf4d3e39b1a2fd816a7680c19ebebaf3a141b239934ad43cb33fcec8ce1c"
)


def test_a_signature_made_elsewhere_names_its_signer():
    assert signer(TEXT, SIGNATURE) == SIGNER


@pytest.mark.parametrize("v", ["01", "1c"])
def test_the_recovery_bit_may_be_written_in_two_ways(v):
    assert signer(TEXT, SIGNATURE[:-2] + v) == SIGNER


@pytest.mark.parametrize("v", ["00", "1b"])
def test_the_other_recovery_bit_is_somebody_else(v):
    assert signer(TEXT, SIGNATURE[:-2] + v) not in {SIGNER, None}


@pytest.mark.parametrize("v", ["02", "1a", "1d", "25", "26", "ff"])
def test_no_other_recovery_bit_counts(v):
    assert signer(TEXT, SIGNATURE[:-2] + v) is None
