"""A Slurm cluster of virtual nodes on this one machine, without systemd: real daemons, for tests.

Needs root and Debian's packages slurm-wlm and munge. Everything lies in one folder but for the link
/etc/slurm/slurm.conf: Snakemake's plugin takes SLURM_CONF out of the environment of jobs, so that
`srun` in a job finds the default place only. The configuration of another cluster is never touched.
"""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
from pathlib import Path

import psutil

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue", "scancel")
DEFAULT = Path("/etc/slurm/slurm.conf")
CONFIGURATION = """
ClusterName=virtual
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
JobAcctGatherParams=OverMemoryKill
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=10
KillWait=20
MinJobAge=300
SchedulerParameters=batch_sched_delay=1,sched_interval=3
PartitionName=main Nodes=ALL Default=YES MaxTime=1-00:00:00 State=UP
PartitionName=other Nodes=ALL MaxTime=1-00:00:00 State=UP
"""


class Cluster:
    """Nodes n1, n2, ... of `cpus` CPUs and `mib` MiB each; `with` starts and always ends them."""

    def __init__(self, folder: Path, nodes: int, cpus: int, mib: int):
        self.folder = folder
        self.nodes = [f"n{i + 1}" for i in range(nodes)]
        host = socket.gethostname().partition(".")[0]
        text = CONFIGURATION.format(host=host, port=_free_port(), folder=folder)
        for node in self.nodes:
            text += (
                f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={_free_port()} "
                f"CPUs={cpus} RealMemory={mib} State=UNKNOWN\n"
            )
            (folder / f"spool.{node}").mkdir(parents=True)
        (folder / "state").mkdir()
        (folder / "slurm.conf").write_text(text)
        (folder / "munge.key").write_bytes(secrets.token_bytes(1024))
        (folder / "munge.key").chmod(0o600)
        # By the second one all processes are known that a job or a daemon has started.
        self.marks = {"SLURM_CONF": str(folder / "slurm.conf"), "VIRTUAL_SLURM": str(folder)}
        self.environment = os.environ | self.marks

    def __enter__(self):
        DEFAULT.symlink_to(self.folder / "slurm.conf")  # fails where there is one
        try:
            self.call(
                "munged", "--force", f"--key-file={self.folder}/munge.key", "--num-threads=2",
                f"--socket={self.folder}/munge.socket", f"--pid-file={self.folder}/munged.pid",
                f"--log-file={self.folder}/munged.log", f"--seed-file={self.folder}/munged.seed",
            )  # fmt: skip
            self.call("slurmctld")
            for node in self.nodes:
                self.start(node)
            self.wait_for_nodes()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        """End exactly the processes that were started here, jobs and those of lost nodes too."""
        try:
            names = [f"slurmd.{node}" for node in self.nodes]
            for name in (*names, "slurmctld", "munged"):
                _end(self.folder / f"{name}.pid", name.partition(".")[0])
            while left := self._processes():
                for process in left:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                psutil.wait_procs(left, timeout=5)
        finally:
            if DEFAULT.is_symlink() and DEFAULT.readlink() == self.folder / "slurm.conf":
                DEFAULT.unlink()

    def _processes(self) -> list[psutil.Process]:
        """What jobs and daemons have started, and the keepers of jobs, which are in the folder."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                keeper = process.name() == "slurmstepd" and process.cwd() == str(self.folder)
                ours = keeper or process.environ().get("VIRTUAL_SLURM") == str(self.folder)
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def call(self, *command: str) -> str:
        """What a command of Slurm says; it must succeed."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}{self.logs()}"
        return done.stdout

    def logs(self) -> str:
        """The ends of the logs of all daemons."""
        parts = [f"\n{path}\n{path.read_text()[-2000:]}" for path in self.folder.glob("*.log")]
        return "".join(parts)

    def start(self, node: str) -> None:
        self.call("slurmd", "-N", node)

    def lose(self, node: str) -> None:
        """The daemon of a node is gone at once; what it had started goes on."""
        os.kill(int((self.folder / f"slurmd.{node}.pid").read_text()), signal.SIGKILL)

    def state(self, node: str) -> str:
        return self.call("sinfo", "-h", "-p", "main", "-n", node, "-o", "%T").strip()

    def wait_for_nodes(self) -> None:
        deadline = time.monotonic() + 60
        while not all(self.state(node) in ("idle", "mixed", "allocated") for node in self.nodes):
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.3)

    def jobs(self) -> dict[str, dict[str, str]]:
        """Running jobs by their Slurm id: node, partition, and `what`: rule and wildcards."""
        lines = self.call("squeue", "-h", "-t", "RUNNING", "-o", "%i|%N|%P|%k").splitlines()
        parts = (line.split("|", 3) for line in lines)
        return {i: dict(zip(("node", "partition", "what"), p, strict=True)) for i, *p in parts}


def _end(pid_file: Path, program: str) -> None:
    """SIGTERM to the daemon of that file, and SIGKILL to one that does not heed it."""
    try:
        daemon = psutil.Process(int(pid_file.read_text()))
        if daemon.name() != program:
            return
        daemon.terminate()
        deadline = time.monotonic() + 10
        while daemon.is_running() and daemon.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                daemon.kill()
            time.sleep(0.1)
    except (OSError, ValueError, psutil.NoSuchProcess):
        return


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
