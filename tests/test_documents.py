"""What the documents tell their readers to run works: each command in miniature, or it says why not here.

Every call that a command ends in matches one rule, and every rule a call, so that neither grows stale. What else the
documents point to is there.
"""

import importlib
import re
import shutil
import tomllib
from typing import NamedTuple

import pytest
import torch
from torch.distributed.run import get_args_parser

from autoencoder.model import VidTwin
from autoencoder.stage1.config import Stage1Config
from eval.videos.protocol import PROTOCOLS
from generator.stage2 import Stage2Config
from runtime.config import parse
from runtime.errors import UserError
from runtime.weights import load_model
from tests.documented_project import write_project
from tests.documents import ROOT, Command, anchors, blocks, commands, links, paths, settings
from tests.launchers import Call, calls, expand, slurm_job
from tests.small_pipeline import DIFFUSERS_ON_NUMPY_2

pytestmark = [
    # torch marks TorchScript as deprecated; the published I3D exists in no other form.
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning"),
    pytest.mark.filterwarnings(DIFFUSERS_ON_NUMPY_2),
]


class Run(NamedTuple):
    """Run here, with arguments `added` that make it small or leave out what is not here, and other `places`."""

    pattern: str
    added: str = ""
    places: tuple[tuple[str, str], ...] = ()
    makes: str = ""


class Elsewhere(NamedTuple):
    """Run in miniature by another test; here its options are looked up among the script's, and its configurations."""

    pattern: str
    test: str


class LeftOut(NamedTuple):
    """Not run by any test, for this reason."""

    pattern: str
    reason: str


PLACES = (("/data/", "data/"),)
CACHED = (("DIR", "runs/cached/latents/train"), ("runs/base/weights", "runs/cached/weights"))
# What tracing memory takes its time for; `make test-full` plans without these.
SMALL = {
    "autoencoder.train": "--model.encoder_depth=1 --model.decoder_depth=1 --model.qformer_depth=1 --loss.perceptual=0 "
    "--loss.adversarial=0",
    "generator.train": "--model.depth=1",
}
RULES = (
    Run(r"autoencoder\.train ", "--dry_run"),
    Run(
        r"generator\.train ",
        "--dry_run",
        (
            ("runs/base/latents/train", "runs/paper"),
            ("runs/long/latents/train", "runs/paper"),
            ("runs/demo/latents/train", "runs/paper"),
            ("runs/showcase/latents/train", "runs/shown"),
        ),
    ),
    # More processes: test_two_processes_write_what_one_does, test_samples_depend_on_seed_and_number_alone.
    Run(
        r"autoencoder\.cache --run ",
        "--workers 0",
        tuple((f"runs/{name}", "runs/base") for name in ("long", "setting2", "showcase")),
    ),
    Run(r"autoencoder\.cache show ", "--num 2", CACHED, "runs/cached/latents/train.png"),
    Run(r"autoencoder\.reconstruct .*VIDEO", makes="VIDEO-vidtwin.mp4"),
    Run(r"autoencoder\.reconstruct .*dynamics_from", makes="A-B-vidtwin.mp4"),
    Run(r"autoencoder\.release \S+\.ckpt weights/", makes="weights/release/config.json"),
    Run(r"autoencoder\.release \S+ \S+\.ckpt$", makes="mine.ckpt"),
    Run(r"generator\.sample(?!.*--weights)", "--weights runs/base --num 4", makes="runs/base/samples/grid.png"),
    Run(
        r"generator\.sample .*--weights",
        "--num 4 --batch_size 4",
        (("runs/demo", "runs/base"), ("Orbit,Spin", "Archery,Surfing")),
        "runs/base/samples/grid.png",
    ),
    Run(r"generator\.walk ", "--points 2", makes="runs/base/walk/walk.png"),
    Run(
        r"eval\.reconstruction MCL-JCV ",
        "--no_lpips --max_videos 2 --frames 4 --size 16 16 --batch_size 2",
        (("MCL-JCV", "data/ucf101"), ("paper=runs/paper", "base=runs/base")),
        "mcl-jcv.json",
    ),
    Run(
        r"eval\.reconstruction VIDEOS ",
        "--no_lpips --max_videos 2 --batch_size 2",
        (("VIDEOS", "data/ucf101"), ("runs/demo", "runs/base")),
        "peers.json",
    ),
    Run(
        r"eval\.report ",
        "--max_videos 4 --classifier_steps 2",
        (("runs/demo", "runs/base"),),
        "runs/base/report.html",
    ),
    Run(
        r"eval\.fvd /data(?!.*videomae)",
        "--protocol custom --resamples 20 --output fvd.json",
        makes="fvd.json",
    ),
    Elsewhere(
        r"eval\.fvd .*videomae",
        "eval/test_features.py::test_a_checkpoint_in_the_published_names_is_taken_and_any_other_is_not",
    ),
    Elsewhere(r"eval\.fvd train\.s", "eval/test_fvd.py::test_saved_statistics_take_the_place_of_the_videos"),
    Run(r"data\.shards pack ", makes="data/shards/train.shards.json"),
    Run(r"data\.ucf101 check "),
    Run(r"data\.latents (info|verify) ", places=CACHED),
    Run(
        r"data\.bench DIR",
        "--clips 2 --batch_size 2 --frames 4 --size 32 32 --workers 0 --prefetch 1 --json bench.json",
        (("DIR", "data/ucf101"),),
        "bench.json",
    ),
    Elsewhere(r"data\.bench --latents", "data/test_bench.py::test_reading_latents_is_measured_against_a_plain_file"),
    Elsewhere(r"data\.synthetic ", "data/test_synthetic.py::test_a_set_of_longer_videos_says_so_and_is_no_other"),
    Elsewhere(
        r"eval\.generation\.continuation ", "eval/test_continuation.py::test_the_script_measures_stopped_and_continued"
    ),
    Elsewhere(
        r"autoencoder\.bench ",
        "autoencoder/test_bench.py::test_the_script_writes_the_table_and_names_what_it_leaves_out",
    ),
    Elsewhere(r"generator\.export ", "generator/test_export.py::test_an_export_loads_and_samples_as_the_run_does"),
    Elsewhere(
        r"eval\.gallery ",
        "eval/test_gallery.py::test_everything_there_is_is_shown_and_what_is_not_is_left_out",
    ),
    Elsewhere(r"eval\.ablation ", "eval/test_ablation.py::test_stopped_in_the_middle_of_a_cell_it_goes_on"),
    Elsewhere(r"eval\.generation\.sweep ", "eval/test_sweep.py::test_a_sweep_measures_each_cell_once_and_as_by_hand"),
    Elsewhere(r"generator\.bench ", "generator/test_bench.py::test_the_script_writes_rows_and_ratio"),
    Elsewhere(
        r"generator\.average ", "generator/test_average.py::test_a_width_made_of_snapshots_is_the_one_that_was_tracked"
    ),
    Elsewhere(
        r"eval\.generation\.conditional ",
        "eval/test_conditional.py::test_figures_are_those_of_what_is_drawn_for_the_donors",
    ),
    Elsewhere(r"eval\.decoupling ", "eval/test_decoupling.py::test_the_script_measures_a_run_and_shows_it"),
    Elsewhere(
        r"eval\.probes ",
        "app/test_look_inside.py::test_probes_go_along_with_weights_and_read_as_those_of_the_run",
    ),
    Elsewhere(r"eval\.cost ", "eval/test_cost.py::test_the_script_writes_table_json_and_picture"),
    Elsewhere(r"eval\.pseudo_dit ", "eval/test_pseudo_dit.py::test_the_script_writes_table_json_and_picture"),
    Elsewhere(r"eval\.plan ", "eval/test_plan.py::test_the_script_plans_the_demo_and_writes_json"),
    Elsewhere(r"eval\.demo ", "test_pipeline.py::test_the_demo_makes_everything_it_names_and_resumes"),
    Elsewhere(r"eval\.check ", "eval/test_check.py::test_all_checks_pass_on_the_cpu"),
    Elsewhere(r"app\b", "app/test_page.py::test_the_page_names_no_other_machine_and_may_ask_none"),
    Elsewhere(r"make help", "test_entrypoints.py::test_make_lists_its_targets"),
    LeftOut(r"pytest ", "what runs this test"),
    LeftOut(r"make lint", "looks at the code, whatever the documents say"),
    LeftOut(r"make setup|pip install ", "needs a network"),
)


@pytest.fixture(scope="module")
def project(tmp_path_factory, processes, builtin_set, configs):
    root = tmp_path_factory.mktemp("project")
    write_project(root, builtin_set, configs / "stage1.yaml")
    return root


@pytest.fixture(scope="module")
def performed() -> set[Call]:
    """What was run already: commands share calls."""
    return set()


@pytest.fixture
def place(project, tmp_path, monkeypatch):
    """A copy of the project for one command, to work in."""
    here = shutil.copytree(project, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(here)
    return here


def rules_of(call: Call) -> list[Run | Elsewhere | LeftOut]:
    return [rule for rule in RULES if re.match(rule.pattern, str(call))]


def run(call: Call, rule: Run, monkeypatch, added: str = "") -> int:
    """The exit code of its script's `main` in this process, the first of those that the launcher would start."""
    arguments = [*call.arguments, *rule.added.split(), *added.split()]
    for old, new in (*PLACES, *rule.places):
        arguments = [argument.replace(old, new) for argument in arguments]
    if "--dry_run" in arguments:
        monkeypatch.setenv("WORLD_SIZE", str(call.processes))
    return main_of(call.module)(arguments)


def main_of(module: str):
    """`main` of a script, or of a package that is run as one."""
    found = importlib.import_module(module)
    return (found if hasattr(found, "main") else importlib.import_module(f"{module}.__main__")).main


def check_words(call: Call, capsys) -> None:
    """Options that there are, and configurations."""
    options = {word.partition("=")[0] for word in call.arguments if word.startswith("--")}
    assert not options or options <= options_of(call.module, capsys)
    for word in call.arguments:
        assert not word.startswith("configs/") or (ROOT / word).is_file()


def options_of(module: str, capsys) -> set[str]:
    with pytest.raises(SystemExit):
        main_of(module)(["--help"])
    return set(re.findall(r"--[a-z][a-z0-9_.]*", capsys.readouterr().out))


def test_every_block_is_of_a_kind_that_is_tested():
    assert {(block.language, block.is_script) for block in blocks()} == {
        ("bash", False), ("bash", True), ("python", False), ("mermaid", False),
    }  # fmt: skip


def test_every_call_has_one_rule_and_every_rule_a_call():
    found = {(command, call): rules_of(call) for command in commands() for call in calls(command)}
    assert {f"{command} ({call})": rules for (command, call), rules in found.items() if len(rules) != 1} == {}
    used = {rule.pattern for rules in found.values() for rule in rules}
    assert {rule.pattern for rule in RULES} == used


@pytest.mark.parametrize("command", commands(), ids=lambda command: command.place)
def test_a_documented_command_works(command: Command, place, performed, monkeypatch, capsys):
    for call in calls(command):
        one = call if call.module in SMALL else call._replace(processes=1)
        match rules_of(call):
            case [Run() as rule] if one not in performed:
                made = [place / name for name in rule.makes.split()]
                for file in made:
                    file.unlink(missing_ok=True)
                assert run(call, rule, monkeypatch, SMALL.get(call.module, "")) == 0, capsys.readouterr().err
                assert all(file.is_file() for file in made)
                performed.add(one)
            case [Elsewhere() as rule]:
                check_words(call, capsys)
                file, name = rule.test.split("::")
                assert f"def {name}(" in (ROOT / "tests" / file).read_text()


def trainings() -> set[Call]:
    return {call for command in commands() for call in calls(command) if call.module in SMALL}


def test_trainings_are_documented_for_one_process_two_eight_and_sixteen(place, monkeypatch, capsys):
    assert {call.processes for call in trainings()} == {1, 2, 8, 16}
    [base] = [call for call in trainings() if call.module == "autoencoder.train" and call.processes == 8]
    assert run(base._replace(processes=16), rules_of(base)[0], monkeypatch) == 2
    assert "a batch of 24 cannot be split over 16 processes" in capsys.readouterr().err  # as docs/cluster.md says


@pytest.mark.full
@pytest.mark.parametrize("number", [1, 2, 8, 16])
def test_trainings_are_planned_at_their_size_for_any_number_of_processes(number, place, monkeypatch, capsys):
    documented = trainings()
    for call in {call._replace(processes=number) for call in documented}:
        code, said = run(call, rules_of(call)[0], monkeypatch), capsys.readouterr()
        if code != 0:
            assert call not in documented
            assert f"cannot be split over {number} processes" in said.err


def test_a_dry_run_of_make_plans_and_does_nothing_else():
    [plan] = expand(["make", "stage1", "GPUS=8", "ARGS=--dry_run"])
    assert (plan.module, plan.arguments[-1], plan.processes) == ("autoencoder.train", "--dry_run", 8)


@pytest.mark.parametrize(("code", "requeued"), [(0, False), (1, False), (138, True)])
def test_the_slurm_script_starts_the_documented_training_and_goes_on_when_it_saved(code, requeued, tmp_path):
    [script] = [block.text for block in blocks() if block.is_script]
    job = slurm_job(script, code, tmp_path)
    assert job.call in trainings()  # the one that torchrun and DeepSpeed's launcher start, too
    assert job.place == {"RANK": 9, "WORLD_SIZE": 16, "LOCAL_RANK": 1, "MASTER_ADDR": "node0", "MASTER_PORT": 29500}
    assert (job.code, job.requeued) == (code, requeued)


@pytest.mark.parametrize("setting", settings(), ids=str)
def test_a_setting_that_the_prose_names_exists(setting: Command, capsys):
    if setting.words[1:]:
        assert any(accepted(stage, setting.words) for stage in (Stage1Config, Stage2Config))
    else:
        assert setting.words[0] in {*options_of("autoencoder.train", capsys), *get_args_parser()._option_string_actions}


def accepted(stage: type, words: list[str]) -> bool:
    """Whether a stage's configuration takes these settings."""
    try:
        parse(stage, words, "")
    except UserError:
        return False
    return True


def python_of(document: str) -> str:
    [snippet] = [block for block in blocks() if block.language == "python" and block.place.startswith(document)]
    return snippet.text


def test_the_python_of_training_runs(place):
    config = load_model(VidTwin, "runs/base/weights/ema").typed_config
    names = {"video": torch.rand(2, 3, *config.video_shape) * 2 - 1}
    exec(python_of("docs/training.md"), names)
    assert names["latents"].structure.shape == (2, *config.structure_shape)
    assert names["latents"].dynamics.shape == (2, *config.dynamics_shape)


def test_the_python_of_generation_runs(place):
    names = {}
    exec(python_of("docs/generation.md"), names)
    assert names["videos"].shape == (4, *names["pipe"].autoencoder.typed_config.video_shape, 3)


def test_as_many_samples_are_made_as_the_protocol_compares():
    made = 0
    for call in (call for command in commands() for call in calls(command)):
        given = dict(zip(call.arguments, call.arguments[1:], strict=False))
        if call.module == "generator.sample":
            made = int(given.get("--num", 0))  # fewer than any protocol asks for where it is not said
        elif call.module == "eval.fvd":
            assert made >= PROTOCOLS[given["--protocol"]].num_generated


def test_files_and_folders_that_are_named_are_there():
    assert {each for each in paths() if not (ROOT / each[1]).exists()} == set()


def test_links_lead_somewhere():
    assert {link for link in links() if not link.file.exists()} == set()
    assert {link for link in links() if link.anchor and link.anchor not in anchors(link.file)} == set()


def test_the_packages_are_listed_as_the_import_contract_has_them():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in contracts if contract["name"] == "imports go downward only"]
    listed = re.findall(r"^\| `(\w+)/` \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE)
    assert listed == layers
