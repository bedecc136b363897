"""Where JAX keeps what it compiles."""

import jax
import pytest

from bondhu.learners import _compilation


@pytest.fixture
def untold():
    """JAX as if nobody had told it of a folder yet."""
    names = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"
    before = [getattr(jax.config, name) for name in names]
    jax.config.update(names[0], None)
    yield
    for name, value in zip(names, before, strict=True):
        jax.config.update(name, value)


@pytest.mark.usefixtures("untold")
def test_the_first_place_that_can_be_written_is_named_by_the_processor(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder can be made below a file")
    folder = _compilation.keep((blocked, tmp_path / "free"))
    assert folder == tmp_path / "free" / f"bondhu-jax-{_compilation._processor()}"
    assert folder.is_dir()
    assert jax.config.jax_compilation_cache_dir == str(folder)


@pytest.mark.usefixtures("untold")
def test_nothing_is_kept_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    assert _compilation.keep((tmp_path / "file",)) is None
    assert jax.config.jax_compilation_cache_dir is None


@pytest.mark.usefixtures("untold")
def test_a_folder_that_somebody_chose_stays(tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "theirs"))
    assert _compilation.keep((tmp_path / "ours",)) is None
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "theirs")
    assert not (tmp_path / "ours").exists()
