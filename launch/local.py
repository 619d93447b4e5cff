"""Starts several processes of one run on this machine.

    python -m launch.local --processes=2 --devices=2 -- -m launch.train --config=configs/hvformer.py:quickstart --workdir=runs/two

Each process is `python` with the arguments behind `--`, and --distributed=HOST:PORT,PROCESSES,ID behind the program's name. On CPU
(JAX_PLATFORMS, cpu if it is not set) each has --devices simulated devices; on GPUs as many GPUs of its own, of CUDA_VISIBLE_DEVICES in
their order if that is set. What they print has their number in front: [0], [1].

SIGTERM and SIGINT are passed on: the run saves a checkpoint and stops. A second one ends it at once. When a process fails, the others are
brought down. Exit status: 0 if all ended well; 3 if the run was stopped and the same command goes on with it; else that of the process that
failed first, 128 + N if it was ended by signal N.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO

STOPPED = 3  # a run's exit status when it can go on
POLL = 0.1  # seconds between two looks
GRACE = 10.0  # seconds the others have to end when one has failed; they wait for it in vain, and cannot save
STOP_GRACE = 300.0  # when one has stopped in order, so that all have a checkpoint to write


@dataclasses.dataclass
class Member:
    """One process. status: as `subprocess` has it, negative for a signal; None while it runs."""

    process: subprocess.Popen[bytes]
    readers: list[threading.Thread]

    @property
    def status(self) -> int | None:
        return self.process.poll()

    def send(self, number: int) -> None:
        """A signal to the process, if it is there; SIGKILL to what it has started, too."""
        if self.status is None:
            (os.killpg if number == signal.SIGKILL else os.kill)(self.process.pid, number)


def main(argv: Sequence[str] | None = None) -> int:
    """Starts the processes, waits for them, and returns the exit status."""
    arguments = parse(sys.argv[1:] if argv is None else argv)
    port = arguments.port or free_port()
    members: list[Member] = []
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: asked.append(received))
    try:
        for index in range(arguments.processes):
            place = f"127.0.0.1:{port},{arguments.processes},{index}"
            environment = environment_of(index, arguments.devices, os.environ)
            members.append(begin(index, [sys.executable, *with_place(arguments.command, place)], environment))
        return watch(members, asked)
    finally:
        for member in members:
            member.send(signal.SIGKILL)
        for member in members:
            for reader in member.readers:
                reader.join()


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The flags, and `command`: what is behind `--`. Ends the program with one line where they are wrong."""
    own, dashes, command = (list(argv), "", []) if "--" not in argv else _split(argv)
    parser = argparse.ArgumentParser(prog="launch.local", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=_count, default=2, help="how many (default 2)")
    parser.add_argument("--devices", type=_count, default=1, help="simulated devices, or GPUs, of each (default 1)")
    parser.add_argument("--port", type=int, default=0, help="on which they find each other; 0: a free one")
    found = parser.parse_args(own)
    found.command = command
    if not dashes or not command:
        parser.error("what is to run stands behind --, such as: -- -m launch.train --config=... --workdir=...")
    if command[0] == "-m" and len(command) == 1:
        parser.error("-m names no module")
    if any(argument.lstrip("-").split("=")[0] == "distributed" for argument in command):
        parser.error("--distributed is said by launch.local, to each process its own: leave it out")
    return found


def with_place(command: Sequence[str], place: str) -> list[str]:
    """A command of `python` with --distributed behind the program's name, where it precedes all arguments.

    Args:
      command: -m MODULE ARGUMENTS, or FILE ARGUMENTS; -m mmre_jax COMMAND ARGUMENTS, as `mmre COMMAND ARGUMENTS` is.
    """
    name = 3 if list(command[:2]) == ["-m", "mmre_jax"] else 2 if command[0] == "-m" else 1
    return [*command[:name], f"--distributed={place}", *command[name:]]


def environment_of(index: int, devices: int, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of process `index`, in which it sees its own devices."""
    found = dict(environment, PYTHONUNBUFFERED="1")
    if found.setdefault("JAX_PLATFORMS", "cpu") == "cpu":  # XLA takes the last of equal flags
        found["XLA_FLAGS"] = f"{found.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}".strip()
    else:
        given = [name for name in found.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        own = given[index * devices : (index + 1) * devices] if given else range(index * devices, (index + 1) * devices)
        found["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, own))
    return found


def begin(index: int, command: Sequence[str], environment: Mapping[str, str]) -> Member:
    """Starts one process in a session of its own: a terminal's Ctrl-C is to reach it once, through here."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    assert process.stdout and process.stderr
    pairs = ((process.stdout, sys.stdout), (process.stderr, sys.stderr))
    readers = [threading.Thread(target=_pass_on, args=(index, source, target.buffer), daemon=True) for source, target in pairs]
    for reader in readers:
        reader.start()
    return Member(process, readers)


def watch(members: Sequence[Member], asked: list[int]) -> int:
    """Waits until all processes have ended. Returns the exit status of the whole.

    Args:
      asked: signals that were received, passed on and taken out of it as they come.
    """
    failed: int | None = None
    passed, deadline = 0, float("inf")
    while any(member.status is None for member in members):
        if asked:
            asked.clear()
            passed += 1
            for member in members:
                member.send(signal.SIGTERM if passed == 1 else signal.SIGKILL)
        found = first_failure([member.status for member in members])
        if found not in (None, failed) and failed in (None, STOPPED):
            failed, waits = found, STOP_GRACE if found == STOPPED else GRACE
            deadline = time.monotonic() + waits
            if found != STOPPED:
                _say(f"a process {_ending(found)}; the others are brought down")
                for member in members:
                    member.send(signal.SIGTERM)
        if time.monotonic() > deadline:
            for member in members:
                member.send(signal.SIGKILL)
        time.sleep(POLL)
    if failed in (None, STOPPED):
        failed = first_failure([member.status for member in members])
    return 0 if failed is None else failed if failed >= 0 else 128 - failed


def first_failure(statuses: Sequence[int | None]) -> int | None:
    """The status to tell of: of those that failed one that a program has given itself, else one by a signal, else STOPPED; None where
    none failed."""
    failed = [status for status in statuses if status]
    order = sorted(failed, key=lambda status: (status == STOPPED, status < 0))
    return order[0] if order else None


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _split(argv: Sequence[str]) -> tuple[list[str], str, list[str]]:
    at = list(argv).index("--")
    return list(argv[:at]), "--", list(argv[at + 1 :])


def _count(written: str) -> int:
    if not written.isdigit() or not 0 < int(written) < 4096:
        raise argparse.ArgumentTypeError(f"{written!r} is not a whole number of at least 1")
    return int(written)


_WRITING = threading.Lock()


def _pass_on(index: int, source: IO[bytes], target: IO[bytes]) -> None:
    """Lines of a process, each whole and with its number in front."""
    with source:
        for line in source:
            with _WRITING:
                target.write(b"[%d] " % index + line.rstrip(b"\n") + b"\n")
                target.flush()


def _say(text: str) -> None:
    with _WRITING:
        sys.stderr.write(f"launch.local: {text}\n")
        sys.stderr.flush()


def _ending(status: int) -> str:
    return f"ended with exit status {status}" if status > 0 else f"was ended by {signal.Signals(-status).name}"


if __name__ == "__main__":
    sys.exit(main())
