"""`sisock new --kind files`: a project without code serves its files."""

import subprocess
import sys


def test_the_test_of_a_project_of_files_passes(tmp_path):
    new = [sys.executable, "-m", "sisock.cli", "new", "my_files", "--kind", "files"]
    subprocess.run(new, cwd=tmp_path, check=True, timeout=120)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "my_files"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout
