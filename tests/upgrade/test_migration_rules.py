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
    r"DROP CONSTRAINT (IF EXISTS )?(?!\w+_fkey\b)",  # what ON CONFLICT names; a foreign key is missed by nobody
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


def locking_checks(sql):
    """Rules for a table that was there before: all that wait for it wait until each of its rows was read."""
    text = statements(sql)
    new_tables = set(re.findall(r"CREATE (?:UNLOGGED )?TABLE (\w+)", text))
    changed = re.findall(r"ALTER TABLE (\w+)([^;]*)", text)
    added = r"ADD (?:CONSTRAINT \w+ )?(?:CHECK|FOREIGN KEY)\b(?:(?!\bADD\b).)*"
    rules = [(table, rule) for table, change in changed for rule in re.findall(added, change, re.DOTALL)]
    return [rule for table, rule in rules if table not in new_tables and "NOT VALID" not in rule]


def missed_indexes(sql):
    """Indexes that are gone: unique ones are what ON CONFLICT names, and the others what old code is fast by."""
    return re.findall(r"DROP INDEX (?:CONCURRENTLY )?(?:IF EXISTS )?(\w+)", statements(sql))


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


@ruled
def test_a_rule_for_a_table_that_may_be_large_is_checked_later(migration):
    assert locking_checks(migration.sql) == []


@ruled
def test_an_index_goes_in_a_contract_step(migration):
    assert not (migration.expands and missed_indexes(migration.sql))


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE sessions;",
        "ALTER TABLE credits DROP CONSTRAINT credits_pkey;",
        "ALTER TABLE credits DROP COLUMN last_turn;",
        "ALTER TABLE credits RENAME COLUMN credits TO balance;",
        "ALTER TABLE credits ALTER COLUMN credits TYPE numeric;",
        "ALTER TABLE credits\n    ADD COLUMN kind text NOT NULL;",
        "ALTER TABLE credits ALTER COLUMN created_at SET NOT NULL;",
    ],
)
def test_what_would_break_old_code_is_noticed(sql):
    assert broken(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE credits ADD COLUMN kind text NOT NULL DEFAULT 'x'; -- DROP TABLE credits",
        "ALTER TABLE callbacks DROP CONSTRAINT callbacks_job_id_fkey;",
    ],
)
def test_what_old_code_does_not_mind_passes(sql):
    assert not broken(sql)


@pytest.mark.parametrize(
    ("sql", "count"),
    [
        ("ALTER TABLE credits ADD CHECK (credits < 9);", 1),
        ("ALTER TABLE credits ADD COLUMN a int, ADD CONSTRAINT b FOREIGN KEY (a) REFERENCES c;", 1),
        ("ALTER TABLE credits ADD CHECK (a), ADD CHECK (b) NOT VALID;", 1),
        ("ALTER TABLE credits ADD CHECK (credits < 9) NOT VALID;", 0),
        ("CREATE TABLE new (id int); ALTER TABLE new ADD CHECK (id > 0);", 0),
    ],
)
def test_a_rule_that_would_hold_everybody_up_is_noticed(sql, count):
    assert len(locking_checks(sql)) == count


def test_an_index_that_goes_is_noticed():
    assert missed_indexes("DROP INDEX IF EXISTS video_jobs_status;") == ["video_jobs_status"]


def test_an_index_that_would_hold_writers_up_is_noticed():
    sql = "CREATE TABLE new (id int); CREATE INDEX a ON new (id); CREATE INDEX IF NOT EXISTS b ON video_jobs (id);"

    assert locking_indexes(sql) == []
    assert locking_indexes(sql + "CREATE INDEX c ON video_jobs (id);") == ["c"]
