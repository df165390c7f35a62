"""A Slurm for tests: Debian's daemons on the loopback; its two nodes are this machine."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.jobs import ROOT, free_port

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "scancel")
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
SCRIPT = ROOT / "deploy/slurm/overnight.sbatch"
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED"}

CONFIGURATION = """\
ClusterName=test
SlurmctldHost=localhost
SlurmctldPort={controller_port}
FirstJobId={first_job}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1
ReturnToService=2
KillWait=5
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={first_port} CPUs=2
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port={second_port} CPUs=2
PartitionName=all Nodes=ALL Default=YES MaxTime=60 State=UP
"""


@dataclass(frozen=True)
class State:
    """What Slurm reports of a job."""

    job: str
    name: str
    exit_code: int
    restarts: int


@dataclass(frozen=True)
class Slurm:
    folder: Path

    def submit(
        self, job_file: Path, *overrides: str, options: tuple[str, ...] = (), **environment: str
    ) -> str:
        """Submits the batch script as a person does, from the root; returns the job's id."""
        options_ = {"cwd": ROOT, "env": {**self._environment(), **environment}}
        return self._output(
            *("sbatch", "--parsable", "--nodes=2", "--cpus-per-task=2"),
            *(f"--output={self.folder}/%j.log", *options),
            *(str(SCRIPT), str(job_file), *overrides),
            **options_,
        ).strip()

    def state(self, job: str) -> State:
        line = self._output("scontrol", "--oneliner", "show", "job", job)
        fields = dict(field.split("=", 1) for field in line.split() if "=" in field)
        exit_code = int(fields["ExitCode"].split(":")[0])
        return State(job, fields["JobState"], exit_code, int(fields["Restarts"]))

    def end_of(self, job: str, seconds: float = 120) -> State:
        """The state a job ends in. `sbatch --wait` would look only twice a minute."""
        for _ in range(round(seconds / 0.2)):
            state = self.state(job)
            if state.name in ENDED:
                return state
            time.sleep(0.2)
        raise TimeoutError(f"job {job} is {state.name}; its log:\n{self.log(job)}")

    def log(self, job: str) -> str:
        file = self.folder / f"{job}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def interrupt(self, job: str) -> None:
        """Sends the signal that Slurm sends before a job's time is up."""
        self._output("scancel", "--signal=TERM", "--batch", job)

    def cancel(self, job: str) -> None:
        self._output("scancel", job)

    def left_of(self, job: str) -> list[list[str]]:
        """Command lines of living processes with a job's id in their environment."""
        commands = []
        for process in psutil.process_iter():
            # Some end meanwhile, and some are zombies.
            with suppress(psutil.Error, OSError):
                if process.environ().get("SLURM_JOB_ID") == job:
                    commands.append(process.cmdline())
        return commands

    def _environment(self) -> dict[str, str]:
        settings = str(self.folder / "slurm.conf")
        return {**os.environ, "SLURM_CONF": settings, "OVERNIGHT_VENV": sys.prefix}

    def _output(self, *command: str, **options: object) -> str:
        done = subprocess.run(
            command,
            **{"env": self._environment(), **options},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout


def missing() -> list[str]:
    """What this machine lacks for a Slurm: programs, or root."""
    lacking = [program for program in NEEDED if not shutil.which(program, path=PATH)]
    return lacking if os.geteuid() == 0 else [*lacking, "root"]


@contextmanager
def slurm(folder: Path) -> Iterator[Slurm]:
    """Munge, a controller and two nodes, beside the system's own; they end with the block."""
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    settings = folder / "slurm.conf"
    settings.write_text(
        CONFIGURATION.format(
            folder=folder,
            controller_port=free_port(),
            first_job=10_000 + secrets.randbelow(60_000_000),
            first_port=free_port(),
            second_port=free_port(),
        )
    )
    for name in ("n1", "n2"):
        (folder / f"spool-{name}").mkdir()
    running = Slurm(folder)
    with ExitStack() as daemons:
        # `--force`: folders of tests are open to more users than munge accepts.
        files = (
            "key-file=munge.key",
            "socket=munge.socket",
            "pid-file=munge.pid",
            "seed-file=seed",
        )
        paths = (f"--{option}={folder / name}" for option, name in (f.split("=") for f in files))
        daemons.enter_context(_daemon(folder, "munged", "--foreground", "--force", *paths))
        _until((folder / "munge.socket").exists, "munged")
        daemons.enter_context(_daemon(folder, "slurmctld", "-D", "-c", "-f", str(settings)))
        for name in ("n1", "n2"):
            daemons.enter_context(_daemon(folder, "slurmd", "-D", "-N", name, "-f", str(settings)))
        _until(lambda: _both_idle(running), "slurmctld")
        yield running


def _both_idle(running: Slurm) -> bool:
    try:
        return (
            running._output("sinfo", "--noheader", "--Node", "--format=%t").split() == ["idle"] * 2
        )
    except AssertionError:
        return False


@contextmanager
def _daemon(folder: Path, program: str, *arguments: str) -> Iterator[None]:
    path = shutil.which(program, path=PATH)
    assert path
    log = folder / f"{program}{'-'.join(a for a in arguments if a in ('n1', 'n2'))}.out"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [path, *arguments],
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "SLURM_CONF": str(folder / "slurm.conf")},
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until(done: object, what: str, seconds: float = 20) -> None:
    assert callable(done)
    for _ in range(round(seconds / 0.1)):
        if done():
            return
        time.sleep(0.1)
    raise TimeoutError(f"{what} is not up after {seconds} seconds")
