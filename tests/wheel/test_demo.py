"""The wheel with the extra ``demo``: everything runs in an empty folder."""

import subprocess

from sisock.testing import wait_until

NODE = """
import sisock


class Counter(sisock.LiveNode):
    \"\"\"Counts.\"\"\"

    name = "counter"
    interval = 0.1
    fields = {"n": {}}
    n = 0

    def read(self):
        self.n += 1
        return {"n": self.n}


sisock.run(Counter)
"""


def page(port):
    return fetched(f"https://127.0.0.1:{port}/")


def fetched(url):
    command = ["curl", "--insecure", "--silent", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout


def test_the_demo_runs_in_an_empty_folder(everything, place):
    here = place(everything)
    demo = here.start("sisock", "demo")
    here.wait_for("\nready: ", demo)
    assert "page.js" in page(here.port)
    (here.folder / "counter.py").write_text(NODE)
    here.start("sisock", "node", "counter.py", "--name", "mine")

    def told():
        done = here.run("sisock", "doctor")
        return None if done.returncode or "node mine: " not in done.stdout else done

    done = wait_until(told, 180, "an installation without problems")
    for part in ("router", "hub", "node apex_archive", "node sensors"):
        assert f"ok   {part}: " in done.stdout
    assert '"status"' in fetched(f"http://127.0.0.1:{here.bridge_port}/readyz")
    # Neither of a module that was built for another numpy nor of anything else.
    assert "Traceback" not in here.log.read_text() + done.stderr
    assert "Error" not in here.log.read_text()


def test_router_hub_and_bridge_run_by_their_commands(everything, place):
    here = place(everything)
    assert here.run("sisock", "certs").returncode == 0
    router = here.start("sisock", "router")
    wait_until(lambda: "page.js" in page(here.port), 180, "the page")
    here.wait_for("another hub is on this router", here.start("sisock", "hub"))
    bridge = here.start("sisock", "bridge")
    here.wait_for("listening on http://", bridge)
    assert router.poll() is None
    assert "Traceback" not in here.log.read_text()


def test_a_new_project_passes_its_tests_by_the_installed_plugin(everything, place):
    everything.install("pytest")
    here = place(everything)
    assert here.run("sisock", "new", "thermometer").returncode == 0
    done = here.run("python", "-m", "pytest", "-q", "thermometer")
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_all_modules_come_from_the_wheel(everything, place):
    script = (
        "import sisock, sisock_nodes, sisock_programs as p;"
        "print(sisock.__file__, sisock_nodes.__path__[0], p.__path__[0])"
    )
    done = place(everything).run("python", "-c", script)
    folders = done.stdout.split()
    assert len(folders) == 3, done.stderr
    assert all(folder.startswith(str(everything.bin.parent)) for folder in folders)
