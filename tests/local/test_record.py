"""The record of what runs, and the lock of who runs it."""

from reelgate_local.record import Record, held


def test_a_record_reads_back_as_written(tmp_path):
    record = Record(7, {12: "then"}, [tmp_path / "data"])
    record.write(tmp_path / "running.json")

    assert Record.read(tmp_path / "running.json") == record


def test_ending_removes_the_folders(tmp_path):
    (tmp_path / "data" / "deep").mkdir(parents=True)

    Record(7, {}, [tmp_path / "data"]).end()

    assert not (tmp_path / "data").exists()


def test_a_lock_is_held_once(tmp_path):
    with held(tmp_path / "lock") as first, held(tmp_path / "lock") as second:
        assert (first, second) == (True, False)
    with held(tmp_path / "lock") as third:
        assert third
