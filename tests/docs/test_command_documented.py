"""docs/cli.md tells every command there is, and no other."""

import re
from pathlib import Path

import typer.main

from reelgate_cli.__main__ import app

TEXT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


def commands(group, *path):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *path, name)
        else:
            yield " ".join((*path, name))


def told():
    """`reelgate keys create`, `list`: the later ones of a row share the first one's group."""
    for row in re.findall(r"^\| (`reelgate [^|]*) \|", TEXT, re.MULTILINE):
        first, *others = re.findall(r"`(?:reelgate )?([a-z -]+?)(?: [A-Z-].*?| --.*?)?`", row)
        yield first
        yield from (f"{first.split()[0]} {other}" for other in others)


def test_every_command_is_told():
    assert sorted(told()) == sorted(commands(typer.main.get_command(app)))
