"""A copy of the workflow in a folder of its own, and snakemake as a person would call it."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = ("Snakefile", "rules", "workflow", "config", "profiles")


class Workflow:
    """A checkout of the workflow; the library is the installed one."""

    def __init__(self, folder: Path):
        self.folder = folder
        for part in PARTS:
            source = ROOT / part
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            copy(source, folder / part)

    def command(self, *arguments) -> list[str]:
        return [sys.executable, "-m", "snakemake", *map(str, arguments)]

    def run(self, *arguments, **options) -> subprocess.CompletedProcess:
        """Call snakemake and wait; standard output and error are kept together as text."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1500,
            check=False,
            **options,
        )

    def start(self, *arguments) -> subprocess.Popen:
        """Start snakemake in a process group of its own."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
