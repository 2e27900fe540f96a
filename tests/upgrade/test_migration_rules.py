"""What every migration keeps to, so that the code from before it goes on (docs/upgrades.md)."""

import re

import pytest

from reelgate_common import migrations

_BASELINE = 1
_RULED_SINCE = 12  # those before are applied everywhere, and may not be edited

# What code from before would miss, or be refused by.
_BREAKS = (
    r"DROP TABLE",
    r"DROP COLUMN",
    r"RENAME ",
    r"SET NOT NULL",
    r"ALTER COLUMN \w+ (SET DATA )?TYPE",
    r"ADD COLUMN (?!.*\bDEFAULT\b|.*\bGENERATED\b).*\bNOT NULL",
)

after_the_baseline = pytest.mark.parametrize(
    "migration", [m for m in migrations.known() if m.version > _BASELINE], ids=lambda m: m.name
)
ruled = pytest.mark.parametrize(
    "migration", [m for m in migrations.known() if m.version >= _RULED_SINCE], ids=lambda m: m.name
)


def statements(sql):
    """The SQL without its comments and the bodies of functions, which old code does not run."""
    return re.sub(r"\$\$.*?\$\$", "", re.sub(r"--.*", "", sql), flags=re.DOTALL)


def broken(sql):
    return [rule for rule in _BREAKS if re.search(rule, statements(sql), re.IGNORECASE)]


def locking_indexes(sql):
    """Indexes made on a table that was there before: writes wait until they are done, unless they were made by hand."""
    text = statements(sql)
    new_tables = set(re.findall(r"CREATE (?:UNLOGGED )?TABLE (\w+)", text))
    made = re.findall(r"CREATE (?:UNIQUE )?INDEX (?!IF NOT EXISTS)(\w+)\s+ON (\w+)", text)
    return [name for name, table in made if table not in new_tables]


@after_the_baseline
def test_old_code_keeps_working_or_the_name_says_that_it_does_not(migration):
    is_contract = re.match(r"\d{4}_contract_", migration.name) is not None

    assert migration.expands != is_contract


@after_the_baseline
def test_a_migration_that_says_so_takes_nothing_away(migration):
    assert not (migration.expands and broken(migration.sql))


@after_the_baseline
def test_a_migration_begins_with_why(migration):
    assert migration.sql.startswith("-- Why: ")


@ruled
def test_an_index_of_a_table_that_may_be_large_can_be_made_before(migration):
    assert locking_indexes(migration.sql) == []


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE sessions;",
        "ALTER TABLE credits DROP COLUMN last_turn;",
        "ALTER TABLE credits RENAME COLUMN credits TO balance;",
        "ALTER TABLE credits ALTER COLUMN credits TYPE numeric;",
        "ALTER TABLE credits\n    ADD COLUMN kind text NOT NULL;",
        "ALTER TABLE credits ALTER COLUMN created_at SET NOT NULL;",
    ],
)
def test_what_would_break_old_code_is_noticed(sql):
    assert broken(sql)


def test_what_old_code_does_not_mind_passes():
    assert not broken("ALTER TABLE credits ADD COLUMN kind text NOT NULL DEFAULT 'x'; -- DROP TABLE credits")


def test_an_index_that_would_hold_writers_up_is_noticed():
    sql = "CREATE TABLE new (id int); CREATE INDEX a ON new (id); CREATE INDEX IF NOT EXISTS b ON video_jobs (id);"

    assert locking_indexes(sql) == []
    assert locking_indexes(sql + "CREATE INDEX c ON video_jobs (id);") == ["c"]
