"""The Makefile's promises to a reader."""

import re

import pytest

from reelgate_local.layout import CHECKOUT

_LINES = (CHECKOUT / "Makefile").read_text().splitlines()
_TARGETS = next(line for line in _LINES if line.startswith(".PHONY:")).split()[1:]


@pytest.mark.parametrize("target", _TARGETS)
def test_every_target_says_what_it_does(target):
    assert any(re.match(rf"{target}:.*## \w", line) for line in _LINES)


def test_the_makefile_stays_short():
    assert len(_LINES) <= 100
