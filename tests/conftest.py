"""What several tests need: two threads, no GPU, a small built-in data set, tiny configurations, one process group."""

import fcntl
import os
import shutil
import socket
import subprocess
import sys

import pytest
import torch

torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)  # others use the other cores
LONGEST = [
    "test_pipeline.py",
    "test_stopping.py",
    "test_documents.py",
    "test_shipped_configurations.py",
    "test_training.py",
]
GPU_TESTS = "gpu"  # `pytest -m gpu` runs those that need one

TINY_STAGE1 = """
model: {frames: 4, height: 16, width: 16, patch: [1, 8, 8], dim: 16, encoder_depth: 1, decoder_depth: 1, num_heads: 2,
  num_queries: 2, query_dim: 8, qformer_depth: 2, qformer_heads: 2, qformer_hidden: 16, structure_channels: 2,
  structure_conv_dim: 8, structure_halvings: 0, dynamics_channels: 2, dynamics_halvings: 0, dropout: 0.1}
data: {in_memory: true, workers: 0}
loss: {perceptual: 0, adversarial: 0, kl: 0.01}
optimizer: {lr: 0.003, warmup_steps: 2}
engine: {precision: fp32, zero_stage: 1}
loop: {steps: 6, batch_size: 4, log_every: 1, validate_every: 0, save_every: 3}
validation: {clips: 2}
"""
TINY_STAGE2 = """
model: {structure_patch: [2, 1, 1], dynamics_patch: [1, 4], width: 16, depth: 1, num_heads: 2, class_width: 8}
diffusion: {objective: flow, sample_steps: 2, guidance: 2.0}
optimizer: {lr: 0.003, warmup_steps: 2}
engine: {precision: fp32, zero_stage: 1}
loop: {steps: 6, batch_size: 4, log_every: 1, validate_every: 0, save_every: 3}
preview: 2
"""


def pytest_configure(config):
    """Tests, and the processes that they start, see no GPU: they compare bits with the CPU's, and ranks share one."""
    if config.option.markexpr != GPU_TESTS:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_modifyitems(config, items):
    """The longest files begin, so that no worker is left with one at the end.

    A process sees GPUs for its whole life or never, so those tests have a run of their own.
    """
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
    if config.option.markexpr != GPU_TESTS:
        for item in items:
            if item.get_closest_marker(GPU_TESTS):
                item.add_marker(pytest.mark.skip(reason=f"sees no GPU here; run pytest -m {GPU_TESTS}"))


@pytest.fixture(scope="session")
def processes():
    """This process as a run of one, for every test that trains in it."""
    from runtime import distributed

    with distributed.processes():
        yield


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Have a folder made by the first worker that asks for it; the others wait for it. Nobody changes what is in it."""
    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    shared.mkdir(exist_ok=True)

    def folder(name, make):
        place, done = shared / name, shared / f"{name}.done"
        with open(shared / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(place, ignore_errors=True)  # of a worker that failed in the middle
                make(place)
                done.touch()
        return place

    return folder


@pytest.fixture(scope="session")
def builtin_set(made_once):
    """A built-in data set of ten classes with four videos each."""
    from data.synthetic.dataset import write_dataset

    return made_once("builtin", lambda root: write_dataset(root, videos_per_class=4, seed=0))


@pytest.fixture(scope="session")
def configs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("configs")
    (folder / "stage1.yaml").write_text(TINY_STAGE1)
    (folder / "stage2.yaml").write_text(TINY_STAGE2)
    return folder


@pytest.fixture(scope="session")
def stage1_run(made_once, processes, builtin_set, configs):
    """A tiny trained autoencoder with its latents: `runs/x` as stage one leaves it."""
    from autoencoder.cache import CacheConfig, cache_split
    from autoencoder.model import VidTwin
    from autoencoder.stage1.config import Stage1Config
    from autoencoder.train import train
    from runtime.config import load
    from runtime.weights import load_model

    def make(run):
        config = load(Stage1Config, configs / "stage1.yaml", ["--run", str(run), "--data.root", str(builtin_set)])
        train(config)
        for split in ("train", "test"):
            settings = CacheConfig(run=str(run), shard_size=8, batch_size=4)
            cache_split(settings, config, load_model(VidTwin, run / "weights" / "ema"), split)

    return made_once("stage1", make)


@pytest.fixture(scope="session")
def stage2_run(made_once, stage1_run, configs):
    """A tiny trained generator on those latents."""
    from generator.stage2 import Stage2Config
    from generator.train import train
    from runtime.config import load

    places = ["--cache", str(stage1_run / "latents/train"), "--autoencoder", str(stage1_run / "weights/ema")]
    return made_once(
        "stage2", lambda run: train(load(Stage2Config, configs / "stage2.yaml", ["--run", str(run), *places]))
    )


def clean_environment() -> dict[str, str]:
    """Nothing of this process's rank."""
    own = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    return {**{k: v for k, v in os.environ.items() if k not in own}, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def free_port():
    """A port of this machine that nobody listens at."""

    def find() -> int:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return free.getsockname()[1]

    return find


@pytest.fixture(scope="session")
def start(tmp_path_factory):
    """Start `python COMMAND`, a fork that has the large libraries, from a folder that is not the project's."""
    from tests.processes import Server

    server = Server()

    def process(*command: str, env: dict[str, str] | None = None):
        place = tmp_path_factory.mktemp("process")
        (place / "elsewhere").mkdir()
        return server.start(*command, env=clean_environment() | (env or {}), cwd=place / "elsewhere", folder=place)

    yield process
    server.close()


@pytest.fixture(scope="session")
def start_ranks(start, free_port):
    """Start the processes of a run, placed as torchrun does it."""

    def processes(*command: str, ranks: int, env: dict[str, str] | None = None):
        place = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())} | (env or {})
        return [
            start(*command, env=place | {"RANK": str(rank), "LOCAL_RANK": str(rank)} if ranks > 1 else env)
            for rank in range(ranks)
        ]

    return processes


@pytest.fixture(scope="session")
def launch(start_ranks):
    """Run a module of the project to its end, in `ranks` processes; its code is 0 if all of them end well."""

    def run(module: str, *arguments: str, ranks: int = 1, env: dict[str, str] | None = None):
        started = start_ranks("-m", module, *arguments, ranks=ranks, env=env)
        out, err = ("".join(each) for each in zip(*(process.communicate() for process in started), strict=True))
        code = max((process.returncode for process in started), key=abs)
        return subprocess.CompletedProcess([module, *arguments], code, out, err)

    return run


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A headless Chromium; without one, no test."""
    from tests.browser import EXECUTABLE, Browser

    if EXECUTABLE is None:
        pytest.skip("no Chromium here to open the page in; Debian has it as a package: apt install chromium")
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(scope="session")
def nodes(tmp_path_factory, free_port):
    """Run a module on two nodes of one process each: two launchers that meet on the loopback interface."""

    def run(module: str, *arguments: str):
        launcher = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
        launcher += ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]
        started = [
            subprocess.Popen(
                [sys.executable, *launcher, "--node-rank", str(node), "-m", "--", module, *arguments],
                cwd=tmp_path_factory.mktemp("elsewhere"),
                env=clean_environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for node in range(2)
        ]
        said = [process.communicate(timeout=300) for process in started]
        return [
            subprocess.CompletedProcess(process.args, process.returncode, *streams)
            for process, streams in zip(started, said, strict=True)
        ]

    return run
