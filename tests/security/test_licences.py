"""What runs in the image may be given away with it."""

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_FREE = re.compile(
    r"\b(?:MIT|BSD|Apache|ISC|PSF|Python Software Foundation|Unlicense|0BSD|HPND|Zlib|CC0)", re.IGNORECASE
)
# Weaker than ours and still fine for something that is used unchanged, each with the reason.
_ALLOWED = {
    "certifi": "MPL 2.0: a list of certificates, used as it is",
    "pathspec": "MPL 2.0: a part of the build backend, which stays out of the image",
}


def _runtime():
    """Packages of the image's lock that are installed here: some are for other systems only."""
    lock = (ROOT / "requirements-runtime.lock").read_text(encoding="utf-8")
    for name in re.findall(r"^([a-z0-9][a-z0-9._-]*)==", lock, re.MULTILINE):
        try:
            yield distribution(name)
        except PackageNotFoundError:
            continue


PACKAGES = sorted(_runtime(), key=lambda one: one.name)


def _licences(package):
    told = package.metadata
    classified = [line for line in told.get_all("Classifier", []) if line.startswith("License ::")]
    return " ".join([told.get("License-Expression") or "", (told.get("License") or "")[:200], *classified])


def test_the_lock_is_looked_at():
    assert len(PACKAGES) > 25


@pytest.mark.parametrize("package", PACKAGES, ids=lambda one: one.name)
def test_a_package_has_a_licence_that_asks_for_nothing(package):
    licences = _licences(package)

    assert package.name.lower() in _ALLOWED or _FREE.search(licences), f"{package.name}: {licences!r}"
    assert not re.search(r"\bA?GPL", licences) or package.name.lower() in _ALLOWED
