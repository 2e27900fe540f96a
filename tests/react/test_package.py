"""The package: its types, what is in it, and what it asks for."""

import json
import subprocess
from pathlib import Path

LIBRARY = Path(__file__).parents[2] / "libs" / "react"


def test_its_types_the_guides_hook_and_the_examples_of_its_page_agree(workshop):
    workshop.tool("tsc", "--project", "tsconfig.json")


def test_it_holds_what_was_built_and_needs_only_react(workshop):
    workshop.tool("tsc", cwd=LIBRARY)
    command = ["npm", "pack", "--dry-run", "--json", "--ignore-scripts"]
    [packed] = json.loads(subprocess.run(command, cwd=LIBRARY, capture_output=True, text=True, check=True).stdout)
    names = {file["path"] for file in packed["files"]}
    package = json.loads((LIBRARY / "package.json").read_text())

    assert {"dist/index.js", "dist/index.d.ts", "package.json"} <= names
    assert not any(name.startswith(("src/", "node_modules/")) for name in names)
    assert ("dependencies" in package, list(package["peerDependencies"])) == (False, ["react"])


def test_its_lock_names_no_registry():
    assert "http" not in (LIBRARY / "package-lock.json").read_text()
