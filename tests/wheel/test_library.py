"""The wheel without extras: for a node on a small computer, and for scripts."""

import subprocess
import sys
import zipfile

from tests.wheel.conftest import built

MAX_MEGABYTES = 150
"""Sizes of files: what they take of a disk depends on its blocks."""


def test_the_library_is_small(library):
    files = [path for path in library.site.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    compiled = sum(path.stat().st_size for path in files if path.suffix == ".pyc") / 1e6
    disk = sum(path.stat().st_blocks * 512 for path in files) / 1e6
    print(f"\nthe library with all it depends on: files of {size:.1f} MB, {compiled:.1f} MB of it")
    print(f"compiled by pip; with the unused ends of the disk's blocks {disk:.1f} MB")
    assert size < MAX_MEGABYTES
    assert not (library.site / "crossbar").exists()


def test_a_wheel_is_made_of_the_sdist_without_node(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", tmp_path]
    environ = {"PATH": "/nonexistent", "HOME": str(tmp_path)}
    command += ["--no-build-isolation", built("*.tar.gz")]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (again,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(again).namelist())
    assert names == set(zipfile.ZipFile(built("*.whl")).namelist())
    assert "sisock_programs/js/dist/page.js" in names
    assert "sisock_programs/setup.py" not in names


def test_what_an_extra_would_bring_is_one_sentence(library, place):
    here = place(library)
    for command, missing in (
        ("router", "pip install 'sisock[router]'"),
        ("demo", "pip install 'sisock[demo]'"),
        ("bridge", "pip install 'sisock[grafana]'"),
        ("node sensors", "pip install 'sisock[sensors]'"),
    ):
        done = here.run("sisock", *command.split())
        assert done.returncode == 1
        assert missing in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_node_of_the_wheel_is_run_by_its_name(library, place):
    done = place(library).run("sisock", "node", "weather", "--check")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("node apex_archive: 5 fields")


def test_doctor_says_that_nothing_is_there(library, place):
    done = place(library).run("sisock", "doctor")
    assert done.returncode == 1
    assert "no secret" in done.stdout
