"""Starts a run on a cluster: Slurm, a TPU slice, Kubernetes, SkyPilot, or one machine.

    python -m launch.submit --sample > run.env
    python -m launch.submit slurm --env=run.env --dry-run

Kinds: slurm (sbatch), tpu (a TPU slice of Google Cloud, by gcloud), jobset (Kubernetes, by kubectl), sky (SkyPilot), local (this machine).
The environment file says image, workdir, data, configuration and what else there is; --sample prints one with all keys, and
launch/README.md says what to do on each kind of cluster. What is submitted is written into this folder, as NAME.KIND.sh or .yaml; --dry-run
prints it instead, and what it would be handed to. Exit status: 2 for a mistake, else that of the cluster's own command.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from launch.pods.environment import Environment, EnvironmentFileError, read
from mmre_jax import cli
from mmre_jax.text_files import read_text

TEMPLATES = pathlib.Path(__file__).parent / "pods"
PORT = 8476  # where process 0 listens; JAX's own for clusters that say none
_PLACEHOLDER = re.compile(r"@(\w+)@")


@dataclasses.dataclass(frozen=True)
class Submission:
    """A file and the command that it is handed to, as its last argument."""

    name: str
    text: str
    command: tuple[str, ...]


def main(argv: Sequence[str] | None = None) -> None:
    """Renders the file of a kind of cluster; prints it, or writes it and becomes the command that takes it."""
    arguments = parse(sys.argv[1:] if argv is None else argv)
    if arguments.sample:
        print(read_text(TEMPLATES / "run.env"), end="")
        return
    try:
        found = KINDS[arguments.kind](read(arguments.env))
        if arguments.dry_run:
            print(f"{shlex.join(found.command)} {found.name}   # the file being:", file=sys.stderr, flush=True)
            print(found.text, end="")
            return
        pathlib.Path(found.name).write_text(found.text, encoding="utf-8")
        os.execvp(found.command[0], [*found.command, found.name])
    except FileNotFoundError as error:
        _end(f"{error.filename or found.command[0]}: there is no such file or program here")
    except (EnvironmentFileError, OSError) as error:
        _end(str(error))


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The flags. Ends the program with one line where they are wrong."""
    about = cli.as_typed(__doc__ or "")
    parser = argparse.ArgumentParser(
        prog=cli.as_typed("launch.submit"), description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", nargs="?", choices=KINDS, help="of cluster")
    parser.add_argument("--env", metavar="FILE", help="the environment file")
    parser.add_argument("--dry-run", action="store_true", help="print what would be run; needs no cluster")
    parser.add_argument("--sample", action="store_true", help="print an environment file with all keys")
    found = parser.parse_args(argv)
    if not found.sample and not (found.kind and found.env):
        parser.error(f"say a kind of cluster, {', '.join(KINDS)}, and --env=FILE")
    return found


def slurm(env: Environment) -> Submission:
    """A batch job: a task for each device, which finds its place by Slurm's own variables (--distributed=auto)."""
    env.fix("slurm", "BACKEND", "cpu", "cuda")
    if env["IMAGE"]:
        env.need("slurm with an image", "SHARED")
    container = [f"--container-image={env['IMAGE']}", f"--container-mounts={env['SHARED']}:{env['SHARED']}"] if env["IMAGE"] else []
    values = {
        **_shell(env, "NAME", "NODES", "DEVICES", "BACKEND", "RESTARTS"),
        "gres": f"gpu:{env['DEVICES']}" if env["BACKEND"] == "cuda" else "none",
        "container": shlex.join(container),
        "command": _command(env, "auto"),
    }
    return _submission(env, "slurm.sh", values, "sbatch", *env.options)


def tpu(env: Environment) -> Submission:
    """A loop on this machine that asks for a slice and starts a container on each of its workers, which find each other by the TPU's own
    metadata (--distributed=auto)."""
    env.fix("tpu", "BACKEND", "tpu")
    env.need("tpu", "IMAGE", "SHARED", "VOLUME", "ACCELERATOR", "ZONE", "RUNTIME")
    name, image, shared, volume = (shlex.quote(env[key]) for key in ("NAME", "IMAGE", "SHARED", "VOLUME"))
    mount = f"sudo apt-get install -yq nfs-common && sudo mkdir -p {shared} && sudo mount -t nfs {volume} {shared}"
    prepare = [
        f"sudo docker stop --time=300 {name} >/dev/null 2>&1",  # what an earlier start has left running, which saves a checkpoint
        f"mountpoint -q {shared} || {{ {mount}; }}",
        f"mountpoint -q {shared} && sudo docker pull --quiet {image}",
    ]
    container = f"sudo docker run --rm --name={name} --privileged --net=host --stop-timeout=300 -e JAX_PLATFORMS=tpu -v {shared}:{shared}"
    values = {
        **_shell(env, "NAME", "ZONE", "ACCELERATOR", "RUNTIME", "RESTARTS"),
        "prepare": shlex.quote("; ".join(prepare)),
        "run": shlex.quote(f"{container} {image} {_command(env, 'auto')}"),
        "options": shlex.join([*(["--spot"] if env["SPOT"] == "yes" else []), *env.options]),
    }
    return _submission(env, "tpu.sh", values, "bash")


def jobset(env: Environment) -> Submission:
    """A JobSet. On TPUs GKE says to each pod which it is (--distributed=auto). Elsewhere that is told: JAX could ask Kubernetes, for which
    pods would need its client and the right to read each other."""
    env.need("jobset", "IMAGE", "SHARED", "VOLUME")
    on_tpu = env["BACKEND"] == "tpu"
    if env["BACKEND"] == "cpu":
        env.fix("jobset on CPUs", "DEVICES", "1")
    if on_tpu:
        env.need("jobset on TPUs", "ACCELERATOR", "TOPOLOGY")
    first = f"{env['NAME']}-workers-0-0.{env['NAME']}"  # the host name that JobSet gives to the pod of index 0
    place = "auto" if on_tpu else f"{first}:{PORT},{env['NODES']},$(PROCESS)"
    labels = {
        "gke-tpu-accelerator" if on_tpu else "gke-accelerator": env["ACCELERATOR"],
        "gke-tpu-topology": env["TOPOLOGY"] if on_tpu else "",
        "gke-spot": "true" if env["SPOT"] == "yes" else "",
    }
    resource = {"cuda": "nvidia.com/gpu", "tpu": "google.com/tpu"}.get(env["BACKEND"])
    # All pods of one slice: a node pool of GKE is one.
    alone = {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"}
    values = {
        **_yaml(env, "NAME", "IMAGE", "BACKEND", "SHARED", "VOLUME"),
        **_shell(env, "NODES", "RESTARTS"),
        "annotations": _json(alone if on_tpu else {}),
        "node_selector": _json({f"cloud.google.com/{name}": value for name, value in labels.items() if value}),
        "resources": _json({"limits": {resource: env["DEVICES"]}} if resource else {}),
        "command": _json([*map(_literal, _head(env)), f"--distributed={place}", *map(_literal, _tail(env))]),
    }
    return _submission(env, "jobset.yaml", values, "kubectl", "create", *env.options, "-f")


def sky(env: Environment) -> Submission:
    """A managed job of SkyPilot, which tells each node the addresses of all and which it is."""
    env.fix("sky", "BACKEND", "cpu", "cuda")
    env.need("sky", "IMAGE", "SHARED", "VOLUME", *(["ACCELERATOR"] if env["BACKEND"] == "cuda" else []))
    if env["BACKEND"] == "cpu":
        env.fix("sky on CPUs", "DEVICES", "1")
    values = {
        **_yaml(env, "NAME", "BACKEND", "SHARED", "VOLUME"),
        **_shell(env, "NODES"),
        "image": _json(f"docker:{env['IMAGE']}"),
        "accelerators": _json({env["ACCELERATOR"]: env.count("DEVICES")} if env["BACKEND"] == "cuda" else None),
        "spot": _json(env["SPOT"] == "yes"),
        "command": _command(env, f'"$first:{PORT},$SKYPILOT_NUM_NODES,$SKYPILOT_NODE_RANK"'),
    }
    return _submission(env, "sky.yaml", values, "sky", "jobs", "launch", *env.options)


def local(env: Environment) -> Submission:
    """This machine, by launch.local, which tells each process its place."""
    env.fix("local", "BACKEND", "cpu", "cuda")
    env.fix("local", "NODES", "1")
    values = {**_shell(env, "BACKEND", "DEVICES", "PYTHON"), "command": shlex.join([*_head(env)[1:], *_tail(env)])}
    return _submission(env, "local.sh", values, "bash")


KINDS: Mapping[str, Callable[[Environment], Submission]] = {"slurm": slurm, "tpu": tpu, "jobset": jobset, "sky": sky, "local": local}


def _head(env: Environment) -> list[str]:
    return [env["PYTHON"], "-m", "mmre_jax", env["PROGRAM"]]


def _tail(env: Environment) -> list[str]:
    data = [f"--config.data.root={env['DATA']}"] if env["DATA"] else []
    return [f"--config={env['CONFIG']}", f"--workdir={env['WORKDIR']}", *data, *env.flags]


def _command(env: Environment, place: str) -> str:
    """What each process runs, for a shell. place: that of the process, in the shell's own words."""
    return f"{shlex.join(_head(env))} --distributed={place} {shlex.join(_tail(env))}"


def _shell(env: Environment, *keys: str) -> dict[str, str]:
    """{placeholder: value} for a shell, and for numbers."""
    return {key.lower(): shlex.quote(env[key]) for key in keys}


def _yaml(env: Environment, *keys: str) -> dict[str, str]:
    return {key.lower(): _json(env[key]) for key in keys}


def _literal(word: str) -> str:
    """For a container's command, in which Kubernetes replaces $(NAME), and makes $ of $$."""
    return word.replace("$", "$$")


def _json(value: Any) -> str:
    """For YAML, which takes JSON in any place."""
    return json.dumps(value, ensure_ascii=False)


def _submission(env: Environment, template: str, values: Mapping[str, str], *command: str) -> Submission:
    text = read_text(TEMPLATES / template)
    return Submission(f"{env['NAME']}.{template}", _PLACEHOLDER.sub(lambda found: values[found[1]], text), command)


def _end(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
