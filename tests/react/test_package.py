"""The package: its types, what is in it, and what it asks for."""

import json
import subprocess
from pathlib import Path

LIBRARY = Path(__file__).parents[2] / "libs" / "react"


def test_its_types_the_guides_hook_and_the_examples_of_its_page_agree(workshop):
    workshop.tool("tsc", "--project", "tsconfig.json")


def test_it_holds_what_was_built_and_needs_only_react(workshop):
    said = subprocess.run(
        ["npm", "pack", "--dry-run", "--json"], cwd=LIBRARY, capture_output=True, text=True, check=True
    ).stdout
    names = {file["path"] for file in next(iter(_packages(said)))["files"]}
    package = json.loads((LIBRARY / "package.json").read_text())

    assert {"dist/index.js", "dist/index.d.ts", "package.json"} <= names
    assert not any(name.startswith(("src/", "node_modules/")) for name in names)
    assert ("dependencies" in package, list(package["peerDependencies"])) == (False, ["react"])


def _packages(said):
    packed = json.loads(said[said.index("[") if "[" in said.split("{")[0] else said.index("{") :])
    return packed if isinstance(packed, list) else packed.values()


def test_its_lock_names_no_registry():
    assert "http" not in (LIBRARY / "package-lock.json").read_text().replace("https://opencollective", "")
