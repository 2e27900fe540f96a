"""A person's wallet: signs as the browser's does, and writes EIP-4361 messages."""

from datetime import UTC, datetime

from eth_keys.datatypes import PrivateKey
from eth_utils.crypto import keccak

ORIGIN = "http://localhost:3000"
DOMAIN = "localhost:3000"


class Wallet:
    """One key pair; the same for the same seed."""

    def __init__(self, seed=1):
        self._key = PrivateKey(seed.to_bytes(32))
        self.address = self._key.public_key.to_checksum_address()

    def sign(self, text, *, v_from=27):
        """What personal_sign answers."""
        data = text.encode()
        made = self._key.sign_msg_hash(keccak(b"\x19Ethereum Signed Message:\n%d" % len(data) + data))
        return encode(made.r, made.s, made.v + v_from)

    async def sign_in(self, api, **says):
        """A header that authorizes, after asking for a nonce and signing a message with it."""
        nonce = (await api.post("/api/auth/nonce")).json()["nonce"]
        text = message(self.address, nonce, **says)
        answer = await api.post("/api/auth/sign-in", json={"message": text, "signature": self.sign(text)})
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['token']}"}


def encode(r, s, v):
    """A signature as wallets write it."""
    return f"0x{r:064x}{s:064x}{v:02x}"


def stamp(moment):
    """As `Date.toISOString` writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def message(address, nonce, *, origin="", domain=DOMAIN, statement="Sign in to make videos.", **says):
    """An EIP-4361 message as client libraries write it; `says` overrides lines or adds some, None leaves one out."""
    lines = {
        "URI": ORIGIN,
        "Version": "1",
        "Chain ID": "1",
        "Nonce": nonce,
        "Issued At": stamp(datetime.now(UTC)),
        "Expiration Time": None,
        "Not Before": None,
        "Request ID": None,
    } | {name.replace("_", " "): value for name, value in says.items()}
    head = f"{origin}{domain} wants you to sign in with your Ethereum account:\n{address}\n\n"
    said = f"{statement}\n" if statement is not None else ""
    return f"{head}{said}\n" + "\n".join(f"{name}: {value}" for name, value in lines.items() if value is not None)
