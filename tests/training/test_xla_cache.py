"""Where compiled programs are kept."""

import jax
import pytest

from mmre_jax.training import xla_cache


@pytest.fixture
def as_it_was():
    names = ["jax_compilation_cache_dir", *map(str.lower, xla_cache.LEAST)]
    before = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_a_folder_that_cannot_be_made_is_told_by_its_setting(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=rf"train\.compilation_cache={tmp_path}/file: the folder cannot be made \(File exists\)"):
        xla_cache.enable(str(tmp_path / "file"))


def test_a_folder_that_anyone_can_write_to_is_not_trusted(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    before = jax.config.jax_compilation_cache_dir
    with pytest.raises(PermissionError, match=rf"train\.compilation_cache={tmp_path}/open: anyone can write to this folder"):
        xla_cache.enable(str(tmp_path / "open"))
    assert jax.config.jax_compilation_cache_dir == before


def test_programs_share_one_folder_unless_jax_is_told_another(tmp_path, monkeypatch, as_it_was, caplog):
    monkeypatch.setenv("HOME", str(tmp_path))
    xla_cache.enable_usual()
    assert ".cache/mmre_jax/xla" not in jax.config.jax_compilation_cache_dir, "JAX was told another"
    jax.config.update("jax_compilation_cache_dir", None)
    xla_cache.enable_usual()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / ".cache/mmre_jax/xla")
    assert (tmp_path / ".cache/mmre_jax/xla").stat().st_mode & 0o077 == 0
    jax.config.update("jax_compilation_cache_dir", None)
    (tmp_path / "home").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    xla_cache.enable_usual()
    assert jax.config.jax_compilation_cache_dir is None and "compiled programs are not kept" in caplog.text
