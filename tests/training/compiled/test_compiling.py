"""Compiled code that is kept on disk."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import limitcycles
from limitcycles.training.compiled import compiling

PROGRAM = "from limitcycles.training.compiled.layers import padded; print(padded(3))"


def run(source: Path, **variables) -> str:
    """What PROGRAM prints with the library in `source`."""
    environment = os.environ | {"PYTHONPATH": str(source)} | variables
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()


def copied(folder: Path) -> Path:
    shutil.copytree(
        Path(limitcycles.__file__).parent,
        folder / "limitcycles",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    return folder


class TestCompiled:
    def test_a_change_in_another_file_compiles_anew(self, tmp_path):
        source = copied(tmp_path)
        assert run(source) == "16"
        simd = source / "limitcycles" / "training" / "compiled" / "simd.py"
        text = simd.read_text(encoding="utf-8")
        assert text.count("LANES = 16") == 1
        simd.write_text(text.replace("LANES = 16", "LANES = 32"), encoding="utf-8")
        assert run(source) == "32"

    def test_it_is_kept(self, tmp_path):
        source = copied(tmp_path / "source")
        for variables in ({}, {"NUMBA_CACHE_DIR": str(tmp_path / "kept")}):
            run(source, **variables)
        for place in (
            source / "limitcycles" / "training" / "compiled" / "__pycache__",
            tmp_path / "kept",
        ):
            kept = list(place.glob("compiled-*/**/layers.padded-*.nbc"))
            assert len(kept) == 1
            before = kept[0].stat().st_mtime_ns
            run(source, NUMBA_CACHE_DIR="" if "__pycache__" in str(place) else str(place))
            assert kept[0].stat().st_mtime_ns == before

    def test_what_no_process_has_begun_with_for_long_is_deleted(self, tmp_path):
        source = copied(tmp_path / "source")
        old, used = (tmp_path / "kept" / f"compiled-{name}" for name in ("old", "used"))
        for folder, age in ((old, compiling.UNUSED + 60), (used, compiling.UNUSED - 60)):
            folder.mkdir(parents=True)
            (folder / "writable").touch()
            (folder / "code").touch()
            os.utime(folder / "writable", (time.time() - age,) * 2)
        assert run(source, NUMBA_CACHE_DIR=str(tmp_path / "kept")) == "16"
        assert not old.exists()
        assert (used / "code").exists()

    def test_without_a_place_it_compiles_each_time(self, tmp_path):
        nowhere = tmp_path / "file"
        nowhere.touch()
        places = {"NUMBA_CACHE_DIR": str(nowhere), "XDG_CACHE_HOME": str(nowhere)}
        assert run(copied(tmp_path / "source"), **places) == "16"
