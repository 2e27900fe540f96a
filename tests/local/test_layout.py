"""Where stacks live."""

import pytest

from reelgate_local.errors import LocalError
from reelgate_local.layout import Stack, all_stacks


def test_the_default_stack_is_found_at_the_short_path(tmp_path):
    assert Stack(root=tmp_path).env_file == tmp_path / ".local" / "stack.env"


def test_a_named_stack_has_its_own_file(tmp_path):
    assert Stack("two", tmp_path).env_file == tmp_path / ".local" / "two" / "stack.env"


@pytest.mark.parametrize("name", ["../up", "Two", "", "a b", "-x"])
def test_a_name_that_is_no_folder_is_refused(name):
    with pytest.raises(LocalError, match="lower-case"):
        Stack(name)


def test_every_stack_that_left_files_is_found(tmp_path):
    for name in ("default", "two"):
        Stack(name, tmp_path).home.mkdir(parents=True)

    assert [stack.name for stack in all_stacks(tmp_path)] == ["default", "two"]
