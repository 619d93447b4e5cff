"""What is mistyped ends in one line and exit code 2, before anything is read or written; help names the variants of a file."""

import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from typed import message, run  # noqa: E402

CONFIG = "--config=configs/hvformer.py:quickstart"
QEOT = "--config=configs/qeot.py:quickstart"
RUN = "--workdir={tmp}/run"
NO_STEP = "{tmp}/gone: neither a run's workdir nor the directory of a step"

# (command, parts of the one line). {tmp} is an empty folder with a file called `file`.
MISTYPED = [
    # ---- the configuration's file and variant
    (["train", "--config=configs/hvformer:quickstart", RUN], ["hvformer: there is no such file; did you mean configs/hvformer.py?"]),
    (["train", "--config=configs/hvforner.py", RUN], ["there is no such file; did you mean configs/hvformer.py?"]),
    (["train", "--config=nowhere/x.py", RUN], ["--config=nowhere/x.py: there is no such file"]),
    (["train", "--config=nowhere/qeot.py", RUN], ["there is no such file; did you mean qeot, which comes with the library?"]),
    (["train", "--config=hvforner:quickstart", RUN], ["--config=hvforner: there is no such configuration; did you mean hvformer?"]),
    (["mmre", "audit", "--config", "common"], ["--config=common: there is no such configuration"]),
    (["mmre", "train", "--config=qeot:quick", RUN], ["unknown variant 'quick'", "; did you mean quickstart?"]),
    (["train", "--config=configs/hvformer.py:", RUN], ["--config=configs/hvformer.py:: unknown variant ''"]),
    (["train", "--config=README.md", RUN], ["--config=README.md: a configuration is a Python file"]),
    (["train", "--config=configs/common.py", RUN], ["--config=configs/common.py: the file has no function get_config"]),
    (["train", "--config=", RUN], ["--config is empty"]),
    (["train", RUN], ["give --config", "python -m launch.settings"]),
    (["mmre", "train", RUN], ["give --config", "mmre settings"]),
    # ---- commands of mmre
    (["mmre", "trian"], ["mmre trian: there is no such command; did you mean train?"]),
    (["mmre", "console"], ["mmre console: there is no such command"]),
    (["mmre", "--config=qeot", "train"], ["mmre --config=qeot: a command comes first: mmre COMMAND --FLAG=VALUE"]),
    (["sweep", "--config=configs/qeot.py:quick", RUN, "--vary=optim.lr=1"], ["'quick'", "quickstart, quickstart_rcnn, gmner, more"]),
    (["settings", "--config=configs/x.py"], ["--config=configs/x.py: there is no such file"]),
    # ---- sections, settings and their values
    (["train", CONFIG, RUN, "--config.optm.lr=1"], ["--config.optm.lr: there is no section 'optm'; did you mean optim?"]),
    (["audit", CONFIG, "--config.data.boot=x"], ["--config.data.boot: there is no setting 'boot'; did you mean root?"]),
    (["controls", CONFIG, RUN, "--config.train.epoch", "1"], ["no setting 'epoch'; did you mean epochs?"]),
    (["train", CONFIG, RUN, "--config.optim.lr.x=1"], ["there is no setting 'x'"]),
    (["train", CONFIG, RUN, "--config.optim.lr=abc"], ["optim.lr=abc is not a number of at least 0"]),
    (["train", CONFIG, RUN, "--config.train.epochs=1.5"], ["train.epochs=1.5 is not a whole number of at least 1"]),
    (["train", CONFIG, RUN, "--config.data.published=maybe"], ["data.published=maybe is not True or False"]),
    (["train", CONFIG, RUN, "--config.data.buckets=abc"], ["data.buckets=('abc',) is not a tuple of whole numbers"]),
    (["train", CONFIG, RUN, "--config.data.buckets=(48, 32"], ["data.buckets=(48, 32 is not a tuple of whole numbers"]),
    (["train", CONFIG, RUN, "--config.optim.multipliers={'head': -1}"], ["optim.multipliers={'head': -1} is not a dictionary"]),
    (["benchmark", CONFIG, "--config.train.batch=-8"], ["train.batch=-8 is not a whole number of at least 1"]),
    (["benchmark", CONFIG, "--config.vision.patch=15"], ["vision.patch=15 does not divide vision.side=64"]),
    (["benchmark_matching", QEOT, "--config.train.seed=-1"], ["train.seed=-1 is not a whole number in [0, 4294967295]"]),
    (["audit", CONFIG, "--config.data.image_share=2"], ["data.image_share=2.0 is not a number in [0, 1]"]),
    (["pipeline", QEOT, RUN, "--config.optim.clip=-1"], ["optim.clip=-1.0 is not a number of at least 0"]),
    (["evaluate", "--predictions={tmp}/file", CONFIG, "--config.data.counts=(1,1,-1)"], ["data.counts=(1, 1, -1) is not a tuple"]),
    (["sweep", CONFIG, RUN, "--vary=optim.clip=1,-1"], ["optim.clip=-1.0 is not a number of at least 0"]),
    (["sweep", CONFIG, RUN, "--vary=vision.patch=16,15"], ["vision.patch=15 does not divide vision.side=64"]),
    (["sweep", CONFIG, RUN, "--vary=optim.multipliers.haed=2"], ["'haed'"]),
    (["sweep", CONFIG, RUN, "--vary=optim.lr=1,1"], ["optim.lr: 1 is given twice"]),
    (["sweep", CONFIG, RUN, "--vary=optim.lr=1", "--vary=optim.lr=2"], ["--vary: optim.lr is given twice"]),
    (["sweep", CONFIG, RUN, "--vary=train.seed=1", "--seeds=1"], ["--seeds are values of train.seed"]),
    (["sweep", CONFIG, RUN, "--vary=optim.lr=1", "--seeds=1,x"], ["--seeds are whole numbers, found 'x'"]),
    (["sweep", CONFIG, RUN, "--vary=optim.lr=1", "--beside={tmp}/gone"], ["--beside={tmp}/gone: there is no sweep.json"]),
    (["settings", CONFIG, "--config.optim.lr=-1"], ["optim.lr=-1.0 is not a number of at least 0"]),
    # ---- several processes
    (["train", CONFIG, RUN, "--distributed=nowhere"], ["--distributed=nowhere is not auto, off or HOST:PORT,PROCESSES,ID"]),
    (["train", CONFIG, RUN, "--distributed=a:1,2,2"], ["--distributed=a:1,2,2: of 2 processes the ids are 0 to 1"]),
    (["train", CONFIG, RUN, "--distributed=auto"], ["--distributed=auto: JAX detects no cluster here"]),
    (["settings", "--distributed=auto"], ["--distributed=auto: this program runs in one process"]),
    (["train", CONFIG, RUN, "--distributed_wait=0"], ["distributed_wait"]),
    # ---- flags
    (["train", CONFIG, "--wrkdir={tmp}/run"], ["Unknown command line flag 'wrkdir'. Did you mean: workdir"]),
    (["train", CONFIG, RUN, "more"], ["unexpected arguments: more"]),
    (["train", CONFIG], ["give --workdir: Folder of the run"]),
    (["evaluate", "--checkpoint={tmp}", "--config.data.nam=jsonl"], ["--config.data.nam", "did you mean name?"]),
    (["evaluate", "--checkpoint={tmp}", "--config.text.width=8"], ["--config.text.width", "a checkpoint has its own configuration"]),
    (["calibrate", "{tmp}", "{tmp}"], ["give CHECKPOINT"]),
    (["calibrate", "{tmp}/gone"], [NO_STEP]),
    (["evaluate", "--checkpoint={tmp}", "--split=tset"], ["--split=tset", "train|val|test"]),
    (["train", QEOT, "--workdir="], ["--workdir is empty"]),
    (["controls", QEOT, "--workdir="], ["--workdir is empty"]),
    (["pipeline", QEOT, "--workdir="], ["--workdir is empty"]),
    (["sweep", QEOT, "--workdir=", "--vary=optim.lr=1"], ["--workdir is empty"]),
    (["extract", "--checkpoint={tmp}", "--scenes=1", "--out={tmp}/out", "--min_score=nan"], ["flag --min_score=nan: not a finite number"]),
    (["extract", "--checkpoint={tmp}", "--input={tmp}", "--out={tmp}/x/.."], ["--out={tmp}/x/.. is the folder of the posts"]),
    # ---- places
    (["train", CONFIG, "--workdir={tmp}/file"], ["--workdir={tmp}/file: {tmp}/file is not a folder"]),
    (["sweep", CONFIG, "--workdir={tmp}/file/run", "--vary=optim.lr=1"], ["--workdir={tmp}/file/run: {tmp}/file is not a folder"]),
    (["evaluate", "--checkpoint={tmp}", "--out={tmp}/file"], ["--out={tmp}/file: {tmp}/file is not a folder"]),
    (["extract", "--checkpoint={tmp}", "--scenes=1", "--out="], ["--out is empty"]),
    (["extract", "--checkpoint={tmp}", "--scenes=1", "--out={tmp}/file"], ["--out={tmp}/file: {tmp}/file is not a folder"]),
    (["prepare", "--source={tmp}", "--out={tmp}/file"], ["--out={tmp}/file: {tmp}/file is not a folder"]),
    (["prepare", "--out="], ["--out=DIR is needed"]),
    (["audit", CONFIG, "--json={tmp}"], ["--json={tmp} is a folder"]),
    (["benchmark", CONFIG, "--json={tmp}/gone/x.json"], ["there is no folder {tmp}/gone"]),
    # ---- checkpoints
    (["evaluate", "--checkpoint={tmp}/gone"], [NO_STEP]),
    (["compare", "{tmp}/gone", "{tmp}/gone/too", "--out={tmp}/out"], [NO_STEP]),
    (["compare", "{tmp}/gone", "--out={tmp}/out"], ["give RUN and RUN or more: {tmp}/gone"]),
    (["compare", "{tmp}/gone", "{tmp}/gone", "--out={tmp}/out"], ["two runs are called gone: give each a name of its own"]),
    (["compare", "{tmp}/a.jsonl", "{tmp}/b.jsonl", "--out={tmp}/out"], ["predictions alone need a configuration"]),
    (["compare", "{tmp}/gone", "{tmp}/b.jsonl", CONFIG, "--out={tmp}/out"], ["--config is for predictions alone"]),
    (["compare", "{tmp}/a", "{tmp}/b", "--names=a", "--out={tmp}/out"], ["2 runs need as many names, found 1: a"]),
    (["extract", "--checkpoint={tmp}/gone", "--scenes=1", "--out={tmp}/out"], [NO_STEP]),
    (["convert", "{tmp}/gone", "{tmp}/x.safetensors", "--to=released"], [NO_STEP]),
    (["card", "{tmp}/gone"], [NO_STEP]),
    (["serve"], ["give RUN or more: found nothing"]),
    (["serve", "{tmp}/gone"], ["launch.serve needs Gradio, in an environment of its own: pip install -c constraints-app.txt '.[app]'"]),
    (["pipeline", QEOT, RUN, "--tagger={tmp}/gone"], [NO_STEP]),
    (["train", CONFIG, RUN, "--config.train.init_from={tmp}/gone"], ["train.init_from={tmp}/gone: there is no such folder"]),
    (["train", CONFIG, RUN, "--config.text.weights={tmp}/gone"], ["text.weights={tmp}/gone: "]),
    (["convert", "{tmp}/gone.safetensors", "{tmp}/out", "--tokenizer={tmp}"], ["{tmp}/gone.safetensors does not exist"]),
    (["convert", "{tmp}/gone.safetensors", "{tmp}/out"], ["give --tokenizer"]),
]  # fmt: skip


PLATFORMS = ("cuda", "nonsense")
COMMANDS = {
    **{("mistyped", n): command for n, (command, _) in enumerate(MISTYPED)},
    "two": ["train", CONFIG, RUN, "--config.train.seed=-1", "--config.train.batch=0"],
    ("train", "help"): ["train", "--help"],
    "variants": ["train", "--help", "--config=configs/qeot.py"],
    "no variants": ["train", "--help", "--config=x.py"],
    **{(name, place): [name, CONFIG, *[RUN][: name == "train"]] for name in ("train", "benchmark") for place in PLATFORMS},
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """How all of them ended, and the folder that stood for {tmp}."""
    tmp = tmp_path_factory.mktemp("mistyped")
    (tmp / "file").write_text("")
    commands = [[part.replace("{tmp}", str(tmp)) for part in command] for command in COMMANDS.values()]
    platforms = [{"JAX_PLATFORMS": key[1]} if key[1] in PLATFORMS else {} for key in COMMANDS]
    return {key: run(*typed, environment=more) for key, typed, more in zip(COMMANDS, commands, platforms, strict=True)}, tmp


@pytest.mark.parametrize("number", range(len(MISTYPED)), ids=[" ".join(command[:1] + command[2:]) for command, _ in MISTYPED])
def test_one_line_says_what_is_wrong(ended, number):
    found, tmp = ended
    said = message(found["mistyped", number])
    for part in MISTYPED[number][1]:
        assert part.replace("{tmp}", str(tmp)) in said, said


def test_two_wrong_settings_are_told_at_once(ended):
    found = ended[0]["two"]
    lines = [line.split("=")[0] for line in found.stderr.splitlines()]
    assert found.returncode == 2 and lines == ["error: 2 settings are wrong:", "  train.batch", "  train.seed"]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_backend_that_is_not_there(ended, platform):
    for name in ("train", "benchmark"):
        assert message(ended[0][name, platform]).startswith(f"JAX_PLATFORMS={platform}: JAX finds no such devices here")


def test_help_names_the_variants_of_the_file_that_is_given(ended):
    found, without = ended[0]["variants"], ended[0]["train", "help"]
    assert all(f"\n  {variant}: " in found.stdout for variant in ("quickstart", "gmner", "more"))
    assert "gmner" not in without.stdout and "--config=x.py: there is no such file" in message(ended[0]["no variants"])


def test_nothing_was_written(ended):
    assert [path.name for path in ended[1].iterdir()] == ["file"]


PROGRAM = """
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # of whoever runs the tests in the background it is ignored
from absl import flags
from launch import console
places = [flags.DEFINE_string(name, None, "A place.") for name in ("workdir", "out", "json")]
def main():
    print(*(place.value for place in places))
    os.kill(os.getpid(), signal.SIGINT)
console.run(main)
"""


def test_a_tilde_is_the_home_folder_and_ctrl_c_ends_in_one_word(tmp_path):
    typed = ["--workdir=~/runs/one", "--out=~", "--json=~/x.json"]
    home = os.environ | {"HOME": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", PROGRAM, *typed], env=home, capture_output=True, text=True)
    assert ended.stdout.split() == [f"{tmp_path}/runs/one", str(tmp_path), f"{tmp_path}/x.json"]
    assert ended.returncode == 130 and ended.stderr.splitlines() == ["interrupted"]


def test_processes_are_waited_for_as_long_as_is_said(tmp_path):
    place = ["--distributed=127.0.0.1:9,2,1", "--distributed_wait=1"]
    ended = run("train", "--config=hvformer:quickstart", f"--workdir={tmp_path / 'run'}", *place)
    assert ended.returncode == 1, "the same command may go well when the others are there"
    assert ended.stderr.splitlines()[-1].endswith("the processes have not found each other within 1 s")
