"""Whose signature it is: EIP-191 over secp256k1, as wallets of people sign (no contract is asked)."""

from eth_keys.constants import SECPK1_N
from eth_keys.datatypes import Signature
from eth_keys.exceptions import BadSignature
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

_V = {0: 0, 1: 1, 27: 0, 28: 1}  # wallets write the same bit in both ways


def signer(message: str, signature: str) -> str | None:
    """The address that signed, spelled with its checksum; None when it is no signature.

    Takes milliseconds. Of the two forms each signature has, only the lower one counts, as on the chain itself.
    """
    given = bytes.fromhex(signature.removeprefix("0x"))
    r, s, v = int.from_bytes(given[:32]), int.from_bytes(given[32:64]), _V.get(given[64])
    if v is None or s > SECPK1_N // 2:
        return None
    text = message.encode()
    digest = keccak(b"\x19Ethereum Signed Message:\n%d" % len(text) + text)
    try:
        return str(Signature(vrs=(v, r, s)).recover_public_key_from_msg_hash(digest).to_checksum_address())
    except (BadSignature, ValidationError):
        return None
