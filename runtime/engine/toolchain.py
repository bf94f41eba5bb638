"""The tools that build what a run compiles: put within reach, or asked for in one line."""

import hashlib
import os
import shutil
import sysconfig
from pathlib import Path

import ninja
import torch

from runtime.errors import UserError

COMPILERS = {"cuda": ("CC", ("gcc", "clang"), "gcc"), "cpu": ("CXX", ("g++",), "g++")}  # as Triton, Inductor search


def put_ninja_on_path() -> None:
    """DeepSpeed builds CPU Adam with ninja, which pip installs beside Python: off PATH if the environment is not on it.

    Neither DeepSpeed nor PyTorch looks anywhere else.
    """
    if shutil.which("ninja") is None:
        os.environ["PATH"] = os.pathsep.join(filter(None, (ninja.BIN_DIR, os.environ.get("PATH"))))


def keep_extensions_by_environment() -> None:
    """Give what DeepSpeed builds a folder for each installation of PyTorch, unless `TORCH_EXTENSIONS_DIR` names one.

    PyTorch keeps one for all of them, in which ninja builds an extension again, for half a minute of every core,
    whenever the installation before was another: it goes by the command, and that names PyTorch's headers by path.
    """
    from torch.utils.cpp_extension import get_default_build_root  # it warns where CUDA is missing: once that is quiet

    installation = hashlib.sha256(torch.__path__[0].encode()).hexdigest()[:12]
    os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(Path(get_default_build_root(), installation)))


def require_compiler(device: torch.device) -> None:
    """Raises `UserError` unless `torch.compile` finds the compiler and Python's headers that it needs on `device`."""
    setting, names, package = COMPILERS[device.type]
    named = os.environ.get(setting, "").split()[:1]
    if not any(shutil.which(name) for name in named or names):
        missing = f"no compiler ({setting}={named[0]} is not there)" if named else f"no compiler ({package})"
        advice = f"install {package}"
    elif not Path(sysconfig.get_config_var("INCLUDEPY"), "Python.h").is_file():
        missing, advice = "no Python.h", f"install python{sysconfig.get_python_version()}-dev"
    else:
        return
    raise UserError(f"torch.compile finds {missing}; {advice}, or train without: --engine.compile off")
