"""The SQL of the runbooks runs on the schema as it is."""

import re
from pathlib import Path
from uuid import UUID

import pytest

PAGES = sorted((Path(__file__).parents[2] / "docs" / "runbooks").glob("*.md"))
STATEMENTS = {
    f"{page.stem}-{n}": statement
    for page in PAGES
    for n, statement in enumerate(re.findall(r"`(SELECT [^`]+)`", page.read_text(encoding="utf-8")))
    if statement.endswith(";")
}


@pytest.mark.parametrize("name", STATEMENTS)
async def test_a_statement_runs_and_changes_nothing(stored, name):
    """`PID` and `ID` stand for what an operator puts in."""
    statement = STATEMENTS[name].replace("'ID'", f"'{UUID(int=0)}'").replace("PID", "0")

    await stored.run("SET default_transaction_read_only = on")
    await stored.rows(statement)
