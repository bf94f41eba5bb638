"""From a documented command to the modules that it ends up starting: make, torchrun, DeepSpeed's launcher, Slurm.

Each launcher's own options are read by its own parser, but Slurm's, of which nothing is installed here: `srun` and
`scontrol` are stood in for, so that the shell around them is the one documented.
"""

import os
import re
import shlex
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

from deepspeed.launcher import runner
from torch.distributed import run as torchrun

from tests.documents import ROOT, Command, joined

HOSTS = ("node0 slots=8", "node1 slots=8")  # `hosts`, as docs/cluster.md has its lines

SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
export SLURM_PROCID=9 SLURM_LOCALID=1
exec "$@"
"""
SCONTROL = """#!/bin/bash
if [ "$1" = requeue ]; then echo "$2" > requeued; else printf 'node0\\nnode1\\n'; fi
"""
PYTHON = """#!/bin/bash
printf '%s\\n' "$@" > arguments
echo "$RANK $WORLD_SIZE $LOCAL_RANK $MASTER_ADDR $MASTER_PORT" > place
exit CODE
"""
PLACE = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


class Call(NamedTuple):
    """A module, its arguments, and how many processes run it."""

    module: str
    arguments: tuple[str, ...]
    processes: int = 1

    def __str__(self) -> str:
        return shlex.join([self.module, *self.arguments])


@cache
def calls(command: Command) -> tuple[Call, ...]:
    """What a command starts, in order."""
    return tuple(expand(list(command.words)))


def expand(words: list[str]) -> list[Call]:
    program, *rest = words
    match Path(program).name, rest:
        case "make", _:
            return made(rest)
        case "pip", _:
            return [Call("pip", tuple(rest))]
        case ("torchrun", launched) | ("python", ["-m", "torch.distributed.run", *launched]):
            return [torchrun_call(launched)]
        case "deepspeed", _:
            return [deepspeed_call(rest)]
        case "python", ["-m", module, *arguments]:
            return [Call(module, tuple(arguments))]
        case "python", [script, *arguments]:
            assert (ROOT / script).is_file()
            return [Call(script.removesuffix(".py").replace("/", "."), tuple(arguments))]
    raise AssertionError(f"what does {program} start?")


def made(arguments: list[str]) -> list[Call]:
    """The Python that make would run where set-up is done and nothing else is there; make itself where there is none.

    It runs elsewhere and without this process's variables, which may be those of a make that runs the tests.
    """
    with tempfile.TemporaryDirectory() as empty:
        said = subprocess.run(
            ["make", "-n", "-f", ROOT / "Makefile", "-o", ".venv/.complete", *arguments],
            cwd=empty,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
        )
    assert said.returncode == 0, said.stderr
    lines = [line for line in joined(said.stdout).splitlines() if line.startswith(".venv/bin/python ")]
    return [call for line in lines for call in expand(shlex.split(line))] or [Call("make", tuple(arguments))]


def torchrun_call(words: list[str]) -> Call:
    args = torchrun.parse_args(words)
    assert args.module
    _, nodes = torchrun.parse_min_max_nnodes(args.nnodes)
    processes = nodes * torchrun.determine_local_world_size(args.nproc_per_node)
    return Call(args.training_script, tuple(args.training_script_args), processes)


def deepspeed_call(words: list[str]) -> Call:
    args = runner.parse_args(words)
    assert args.module
    return Call(args.user_script, tuple(args.user_args), sum(runner._parse_hostfile(HOSTS).values()))


class SlurmJob(NamedTuple):
    """What became of a job's script: what it started, in which place, its exit code, whether it asked to run again."""

    call: Call
    place: dict[str, str | int]
    code: int
    requeued: bool


def slurm_job(script: str, code: int, folder: Path) -> SlurmJob:
    """Run a job's script in `folder`, with a task of the job that exits with `code`."""
    directives = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", script, re.MULTILINE))
    tasks = int(directives["nodes"]) * int(directives["ntasks-per-node"])
    programs = {"bin/srun": SRUN, "bin/scontrol": SCONTROL, ".venv/bin/python": PYTHON.replace("CODE", str(code))}
    for name, text in programs.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node[0-1]", "SLURM_NTASKS": str(tasks)}
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(["bash", "-c", script], cwd=folder, env={"PATH": path, **job}, check=False)
    [call] = expand([".venv/bin/python", *(folder / "arguments").read_text().splitlines()])
    values = [int(each) if each.isdigit() else each for each in (folder / "place").read_text().split()]
    place = dict(zip(PLACE, values, strict=True))
    return SlurmJob(call._replace(processes=tasks), place, done.returncode, (folder / "requeued").is_file())
