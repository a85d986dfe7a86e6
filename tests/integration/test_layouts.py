"""The folder of layouts that the router serves: its files, and nothing else."""

import http.client
import json
import ssl

import pytest

from sisock.testing import RouterProcess

HIDDEN = ["link.json", ".hidden.json", "notes.txt", "huge.json", "own", "own.json/"]
BELOW = ["folder.json", "folder.json/inner.json"]
ABOVE = ["../outside.json", "..%2Foutside.json", "%2e%2e/outside.json", "../router/config.json"]

LAYOUT = {"sisock": "layout", "name": "Überblick"}


@pytest.fixture(scope="module")
def layouts_router(tmp_path_factory):
    """A router, its folder of layouts, and what lies beside that."""
    top = tmp_path_factory.mktemp("layouts")
    folder = top / "served"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SISOCK_LAYOUTS", str(folder))
        with RouterProcess() as router:
            yield router, folder


def ask(router, path, method="GET"):
    context = ssl.create_default_context(cafile=router.home.ca_certificate)
    connection = http.client.HTTPSConnection("localhost", router.port, timeout=20, context=context)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_a_layout_is_there_as_soon_as_its_file_is(layouts_router):
    router, folder = layouts_router
    answer, body = ask(router, "/layouts")
    before = json.loads(body)
    assert answer.status == 200
    folder.mkdir(exist_ok=True)
    for name in ("telescope", "Überblick", "a b"):
        (folder / f"{name}.json").write_text(json.dumps(LAYOUT))
    answer, body = ask(router, "/layouts")
    assert set(json.loads(body)) - set(before) == {"a b", "telescope", "Überblick"}
    assert answer.getheader("content-type") == "application/json"
    for path in ("/layouts/%C3%9Cberblick.json", "/layouts/a%20b.json"):
        answer, body = ask(router, path)
        assert (answer.status, json.loads(body)) == (200, LAYOUT)
        assert answer.getheader("cache-control") == "no-cache"


def test_nothing_outside_the_folder_is_reachable(layouts_router):
    router, folder = layouts_router
    folder.mkdir(exist_ok=True)
    outside = folder.parent / "outside.json"
    outside.write_text('"secret"')
    (folder / "link.json").symlink_to(outside)
    (folder / ".hidden.json").write_text('"secret"')
    (folder / "notes.txt").write_text("secret")
    (folder / "folder.json").mkdir()
    (folder / "folder.json" / "inner.json").write_text('"secret"')
    (folder / "huge.json").write_text('"secret"' + " " * (1 << 20))
    (folder / "own.json").write_text("1")
    (folder / "within.json").symlink_to("own.json")
    names = json.loads(ask(router, "/layouts")[1])
    assert {"own", "within"} <= set(names)
    assert not {"link", ".hidden", "folder", "huge", "outside", "notes"} & set(names)
    for path in [*HIDDEN, *BELOW, *ABOVE, str(outside), f"/{outside}"]:
        answer, body = ask(router, f"/layouts/{path}")
        assert answer.status == 404, path
        assert b"secret" not in body, path


def test_layouts_are_only_read(layouts_router):
    router, folder = layouts_router
    folder.mkdir(exist_ok=True)
    (folder / "kept.json").write_text("1")
    for method in ("PUT", "POST", "DELETE"):
        assert ask(router, "/layouts/kept.json", method)[0].status in (405, 501)
    assert (folder / "kept.json").read_text() == "1"
