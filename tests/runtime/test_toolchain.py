"""What is compiled with is found where pip puts it, and missed in one line."""

import subprocess
import sysconfig

import pytest
import torch

from runtime.engine.toolchain import put_ninja_on_path, require_compiler
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
