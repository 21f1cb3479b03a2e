import pytest

from tests.support.memory_folder import memory_folder


def test_a_folder_with_room_is_taken(tmp_path):
    assert memory_folder(tmp_path, room=1) == tmp_path


@pytest.mark.parametrize("room", [1, 1 << 60])
def test_one_that_is_not_there_or_has_no_room_is_not(tmp_path, room):
    assert memory_folder(tmp_path / "none" if room == 1 else tmp_path, room) is None
