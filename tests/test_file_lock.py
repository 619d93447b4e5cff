"""One process at a time; a file system without locks is told."""

import errno
import os

import pytest

from mmre_jax import file_lock


def test_what_one_holds_another_does_not_get_until_it_is_closed(tmp_path):
    with (tmp_path / "lock").open("w") as one, (tmp_path / "lock").open("w") as other:
        assert file_lock.take(one, tmp_path, "wait") and not file_lock.take(other.fileno(), tmp_path, "wait")
        one.close()
        file_lock.wait_for(other)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EIO])
def test_without_locks_it_goes_on_with_a_warning_and_a_broken_disk_is_an_error(tmp_path, monkeypatch, caplog, number):
    def without(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", without)
    with (tmp_path / "lock").open("w") as file:
        if number == errno.EIO:
            with pytest.raises(OSError, match="Input/output error"):
                file_lock.take(file, "here", "take care")
            return
        assert file_lock.take(file, "here", "take care")
    assert f"here: its file system has no locks ({os.strerror(number)}): take care" in caplog.text
