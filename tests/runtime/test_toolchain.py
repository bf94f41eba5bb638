"""What is compiled with is found where pip puts it, and missed in one line."""

import subprocess
import sysconfig
from pathlib import Path

import pytest
import torch
from torch.utils.cpp_extension import _get_build_directory

from runtime.engine.toolchain import keep_extensions_by_environment, put_ninja_on_path, require_compiler
from runtime.errors import UserError


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A shell in which nothing was activated or installed."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for setting in ("CC", "CXX"):
        monkeypatch.delenv(setting, raising=False)
    return tmp_path


def test_ninja_is_found_without_an_activated_environment(bare):
    put_ninja_on_path()
    assert subprocess.run(["ninja", "--version"], capture_output=True, check=True).stdout


@pytest.mark.parametrize(("device", "compiler", "setting"), [("cpu", "g++", "CXX"), ("cuda", "gcc", "CC")])
def test_what_is_missing_to_compile_is_named(bare, monkeypatch, device, compiler, setting):
    device = torch.device(device)
    with pytest.raises(UserError, match=rf"no compiler \({compiler.replace('+', '.')}\).*--engine.compile off"):
        require_compiler(device)
    monkeypatch.setenv(setting, "icc -fast")
    with pytest.raises(UserError, match=f"{setting}=icc is not there"):
        require_compiler(device)
    (bare / "icc").touch(0o755)
    monkeypatch.setattr(sysconfig, "get_config_var", lambda _: str(bare))
    with pytest.raises(UserError, match=r"no Python.h; install python3.\d+-dev"):
        require_compiler(device)
    (bare / "Python.h").touch()
    require_compiler(device)


def test_each_installation_keeps_what_it_builds(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def build_folder(installation: str, setting: str | None = None) -> Path:
        monkeypatch.setenv("TORCH_EXTENSIONS_DIR", setting or "")
        if setting is None:
            monkeypatch.delenv("TORCH_EXTENSIONS_DIR")
        monkeypatch.setattr(torch, "__path__", [installation])
        keep_extensions_by_environment()
        return Path(_get_build_directory("extension", verbose=False))

    one, other = build_folder("/one/torch"), build_folder("/other/torch")
    assert one != other
    assert one == build_folder("/one/torch")
    assert one.is_relative_to(tmp_path)
    assert build_folder("/one/torch", str(tmp_path / "chosen")) == tmp_path / "chosen" / "extension"
