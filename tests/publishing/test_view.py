"""`segzoo view`: what the page shows is what `predict` writes, it answers its own browser only, and nothing leaves this machine."""

import asyncio
import getpass
import http.client
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from browser import CHROMIUM, chromium
from click.testing import CliRunner
from PIL import Image
from support import GOLDEN, MINI

from segzoo.cli import main
from segzoo.errors import EnvironmentFault, IntegrityError, NotFoundError, UsageError
from segzoo.extras import installed
from segzoo.manifest.document import packaged
from segzoo.publishing.view.address import has_display, listening, tunnel
from segzoo.publishing.view.guard import POLICY, guarded, private_folder, stranger
from segzoo.publishing.view.viewer import Viewer, chosen
from segzoo.zoo.zoo import open_zoo

PHOTOS = MINI / "ade_mini" / "images" / "validation"
FIRST = PHOTOS / "ADE_val_00000001.jpg"
MODELS = ["mini-mask", "mini-linear"]
OWN = next(MINI.glob("segmenter_mini_mask-*.pth"))


def predict(*arguments):
    """The answer of `segzoo predict`."""
    done = CliRunner().invoke(main, ["--zoo", "mini", "predict", *map(str, arguments), "--device", "cpu", "--json"])
    return json.loads(done.stdout)


@pytest.fixture
def viewer(tmp_path):
    (tmp_path / "seen").mkdir()
    return Viewer(MODELS, open_zoo("mini", offline=True), tmp_path / "seen", torch.device("cpu"))


def test_what_is_shown_is_what_predict_finds(viewer, tmp_path):
    told = []
    shown = viewer.show(FIRST, ["mini-mask"], told.append)
    (record,) = predict("mini-mask", FIRST, "-o", tmp_path / "out")["result"]
    assert [labels.read_bytes() for labels in shown.labels] == [(tmp_path / "out" / f"{FIRST.stem}.labels.png").read_bytes()]
    pixels = np.load(GOLDEN / "mini_zoo" / "mask_ss" / "ADE_val_00000001.npz")["pred"]
    with Image.open(shown.labels[0]) as labels:
        assert np.array_equal(np.array(labels).ravel(), pixels.ravel())  # mmseg's own
    assert [(name, *percent) for _, name, percent in shown.rows] == list(record["shares"].items())
    with Image.open(FIRST) as image:
        assert np.array_equal(np.array(shown.sides[0]), np.array(image.convert("RGB")))
    with Image.open(record["overlay"]) as sheet:  # the tinted image, and beside it the legend
        assert np.array_equal(np.array(sheet)[:, : shown.sides[1].width], np.array(shown.sides[1]))
    assert told == ["loading mini-mask", f"mini-mask: {FIRST.name}"]
    viewer.show(PHOTOS / "ADE_val_00000002.jpg", ["mini-mask"], told.append)
    assert told[2:] == ["mini-mask: ADE_val_00000002.jpg"]  # the model has stayed


def test_two_models_are_compared_as_predict_compares_them(viewer, tmp_path):
    shown = viewer.show(FIRST, MODELS)
    (record,) = predict("--compare", *MODELS, FIRST, "-o", tmp_path / "out")["result"]
    assert f"they differ in {record['differ_percent']:.2f} % of the pixels" in shown.notes
    assert {name: percent for _, name, percent in shown.rows} == {
        name: [record["shares"][model].get(name, 0.0) for model in MODELS] for name in [name for _, name, _ in shown.rows]
    }
    assert [max(percent) for _, _, percent in shown.rows] == sorted((max(percent) for _, _, percent in shown.rows), reverse=True)
    assert [path.name for path in shown.labels] == [f"{FIRST.stem}.{model}.labels.png" for model in MODELS]
    assert not np.array_equal(*map(np.array, shown.sides))


def test_a_huge_picture_is_drawn_smaller_and_its_label_map_is_whole(viewer, tmp_path):
    Image.new("RGB", (2600, 2000), "green").save(tmp_path / "huge.png")
    shown = viewer.show(tmp_path / "huge.png", ["mini-linear"])
    assert [side.size for side in shown.sides] == [(1300, 1000)] * 2
    assert shown.notes == ["huge.png: 2600x2000 pixels: drawn at 1/2 of that here; label maps are whole"]
    with Image.open(shown.labels[0]) as labels:
        assert labels.size == (2600, 2000)


def test_a_wrong_file_is_told_of_as_predict_does_and_nothing_breaks(viewer, tmp_path):
    wrong = tmp_path / "wrong.jpg"
    for content in (b"hello", b"", FIRST.read_bytes()[:400]):
        wrong.write_bytes(content)
        with pytest.raises(EnvironmentFault) as raised:
            viewer.show(wrong, ["mini-linear"])
        problem = predict("mini-linear", wrong, "-o", tmp_path / "out")["error"]
        assert (raised.value.message, raised.value.hint) == (problem["message"], problem["hint"])
    assert viewer.show(FIRST, ["mini-linear"]).rows


def test_a_file_of_ones_own_says_what_is_assumed(tmp_path):
    own = str(shutil.copy(OWN, tmp_path / "own.pth"))
    zoo = open_zoo("mini", offline=True)
    names = chosen([own, "mini-linear"], zoo)
    shown = Viewer(names, zoo, tmp_path, torch.device("cpu")).show(FIRST, [own])
    assert shown.notes[:2] == [
        f"{own}: taken for mini-mask, where it does not say otherwise",
        f"{own}: its sha256 is that of mini-mask: it is that model",
    ]


def test_label_maps_of_two_files_of_one_name_stay_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for run in ("one", "two"):
        Path(run).mkdir()
        shutil.copy(OWN, Path(run) / "latest.pth")
    zoo = open_zoo("mini", offline=True)
    names = chosen(["one/latest.pth", "two/latest.pth"], zoo)
    shown = Viewer(names, zoo, tmp_path, torch.device("cpu")).show(FIRST, names)
    assert [path.name for path in shown.labels] == [f"{FIRST.stem}.{run}_latest.pth.labels.png" for run in ("one", "two")]


@pytest.mark.parametrize(
    ("names", "options", "error", "said"),
    [
        (["mini-vit"], {}, UsageError, "mini-vit is a backbone"),
        (["mini-musk"], {}, NotFoundError, "did you mean mini-mask?"),
        (["none.pth"], {}, NotFoundError, "none.pth: no such file"),
        ([str(FIRST)], {}, IntegrityError, "ADE_val_00000001.jpg"),
        (["mini-mask"], {"like": "mini-linear"}, UsageError, "--like and --config say what a file of your own does not"),
    ],
)
def test_what_cannot_be_shown_is_refused_at_once(names, options, error, said):
    with pytest.raises(error, match=re.escape(said)):
        chosen(names, open_zoo("mini", offline=True), **options)


def test_models_are_those_that_are_here():
    assert chosen([], open_zoo("mini", offline=True)) == MODELS
    shipped = open_zoo(offline=True)
    with pytest.raises(NotFoundError, match="no model of this zoo has been fetched"):
        chosen([], shipped)
    with pytest.raises(NotFoundError, match="seg-b-mask: not fetched") as raised:
        chosen(["seg-b-mask"], shipped)
    assert raised.value.hint == "segzoo fetch seg-b-mask"


# who may talk to the page, and to whom it talks


HOME = {"host": "127.0.0.1:7860"}


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        (HOME, False),
        ({"host": "localhost"}, False),
        ({"host": "[::1]:8000"}, False),
        (HOME | {"origin": "http://127.0.0.1:7860", "sec-fetch-site": "same-origin"}, False),
        (HOME | {"sec-fetch-site": "none"}, False),
        ({}, True),
        ({"host": "evil.example:7860"}, True),  # a name that has come to mean 127.0.0.1
        ({"host": "127.0.0.1.evil.example"}, True),
        ({"host": "evil.example:7860", "origin": "http://evil.example:7860"}, True),
        (HOME | {"origin": "http://evil.example"}, True),
        (HOME | {"origin": "http://127.0.0.1:8888"}, True),  # another page of this machine
        (HOME | {"origin": "null"}, True),
        (HOME | {"sec-fetch-site": "cross-site"}, True),
        (HOME | {"sec-fetch-site": "same-site"}, True),
    ],
)
def test_a_stranger_is_known_by_host_and_origin(headers, refused):
    assert (stranger(headers) is not None) == refused


def test_what_is_refused_does_not_reach_the_page():
    async def page(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-page", b"yes")]})

    def answer(kind, **headers):
        sent = []

        async def send(message):
            sent.append(message)

        asyncio.run(guarded(page)({"type": kind, "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}, None, send))
        return sent[0]["status"], dict(sent[0]["headers"])

    status, headers = answer("http", host="127.0.0.1:7860")
    assert (status, headers[b"x-page"], headers[b"content-security-policy"]) == (200, b"yes", POLICY.encode())
    assert "http:" not in POLICY
    assert "*" not in POLICY
    assert answer("http", host="evil.example")[0] == 403
    assert b"x-page" not in answer("http", host="127.0.0.1", origin="null")[1]
    assert answer("websocket", host="127.0.0.1")[0] == 403


HOOK = """
import socket, sys
from segzoo.publishing.view.guard import stay_here
stay_here()
socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5).close()
socket.getaddrinfo("localhost", 80)
def out(act):
    try:
        act()
    except PermissionError as error:
        print(error)
out(lambda: socket.create_connection(("192.0.2.1", 80), 1))
out(lambda: socket.create_connection(("::ffff:192.0.2.1", 80), 1))
out(lambda: socket.getaddrinfo("example.org", 80))
out(lambda: socket.getaddrinfo(b"127.example.org", 80))
out(lambda: socket.gethostbyname("example.org"))
out(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53)))
"""


def test_no_connection_leaves_this_machine():
    with listening(20000) as opened:
        done = subprocess.run([sys.executable, "-c", HOOK, str(opened.getsockname()[1])], capture_output=True, text=True, check=True)
    beyond = ["192.0.2.1", "::ffff:192.0.2.1", "example.org", "127.example.org", "example.org", "192.0.2.1"]
    assert done.stdout.splitlines() == [f"segzoo view opens no connection beyond this machine: {host}" for host in beyond]


def test_a_port_that_is_taken_is_passed_over():
    with listening(20000) as first, listening(first.getsockname()[1]) as second:
        assert second.getsockname()[1] > first.getsockname()[1]
        assert second.getsockname()[0] == "127.0.0.1"
    with listening(65535) as last:
        assert last.getsockname()[1] == 65535
        with pytest.raises(EnvironmentFault, match=r"no port of 127\.0\.0\.1 from 65535 to 65535 is free"):
            listening(65535)


def test_what_is_dropped_lies_where_nobody_else_comes(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("GRADIO_TEMP_DIR", "elsewhere")
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "True")
    with private_folder() as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert os.environ["GRADIO_TEMP_DIR"].startswith(str(folder))
        assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
        (folder / "left").write_bytes(b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_person_at_another_machine_is_told_the_way(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    assert has_display()
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.5 50000 10.0.0.9 2222")
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    assert not has_display()
    assert tunnel(7861) == "ssh -p 2222 -L 7861:127.0.0.1:7861 ada@10.0.0.9"


# the page itself, where Gradio is installed

HOSTILE = "<img src=x onerror=document.title=1>.pth"
page_is_here = pytest.mark.skipif(not installed("gradio"), reason="needs Gradio: pip install 'segzoo[view]'")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """The command with its two models, its answer, the port that it was told, and its folder for temporary files."""
    folder = tmp_path_factory.mktemp("temporary")
    shutil.copy(OWN, folder / HOSTILE)
    environment = {**os.environ, "SEGZOO_HOME": str(folder / "home"), "TMPDIR": str(folder), "SSH_CONNECTION": "::1 1 ::1 22"}
    with listening(20100) as taken:  # so that the command has to look for another port
        port = taken.getsockname()[1]
        line = ["-m", "segzoo", "--zoo", "mini", "view", *MODELS, HOSTILE, "--device", "cpu", "--port", str(port), "--json"]
        process = subprocess.Popen([sys.executable, *line], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=folder)
        answer = ""
        while not answer.endswith("\n}\n") and (part := process.stdout.readline()):
            answer += part
    yield process, json.loads(answer), port, folder
    if process.poll() is None:
        process.kill()
    process.communicate()


def asked(address, path, body=None, **headers):
    """Status and text of an answer."""
    with closing(http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)) as connection:
        connection.request("GET" if body is None else "POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")


NOTES = "[...document.querySelectorAll('textarea')].map(one => one.value).join('\\n')"
BORDER = "(one => { one.focus(); return one.getBoundingClientRect().left })(document.querySelector('[data-testid=slider][tabindex]'))"
COMPARED = "document.querySelector('input[aria-label=\"Compared with\"]').focus()"
SAVE = "[...document.querySelectorAll('button')].find(one => one.textContent.includes('Save the label map of {}')).click()"


@page_is_here
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_drops_compares_and_saves_and_asks_nobody_else(running, tmp_path):
    _, answer, *_ = running
    address = answer["result"]["address"]
    files = [FIRST, PHOTOS / "ADE_val_00000002.jpg"]
    (tmp_path / "wrong.png").write_bytes(b"hello")
    with chromium(tmp_path / "browser", tmp_path / "saved") as page:
        page.call("Page.navigate", url=address)
        page.until("document.querySelector('input[data-testid=file-upload]') !== null")
        page.drop("input[data-testid=file-upload]", *files)
        page.until(f"{NOTES}.includes('{FIRST.name}: done')")
        page.until("[...document.querySelectorAll('[role=gridcell]')].some(one => one.textContent.includes('sky'))")
        page.until("document.querySelector('[data-testid=slider][tabindex]') !== null")
        before = page.run(BORDER)
        page.press("ArrowRight", "ArrowRight", "ArrowLeft")
        page.until(f"{BORDER} - {before} > 10")
        page.run(COMPARED)
        page.press("ArrowDown", "ArrowDown", "Enter")
        page.until(f"{NOTES}.includes('they differ in')")
        for model in MODELS:
            page.run(SAVE.format(model))
        page.run(COMPARED)
        page.press("ArrowDown", "Enter")
        page.until(f"{NOTES}.includes('its sha256 is that of mini-mask')")
        page.until("[...document.querySelectorAll('button')].some(one => one.textContent.includes('of <img src=x'))")
        assert page.run("document.title") == "segzoo view"  # the model's name is text everywhere
        page.run("document.querySelector('button[aria-label=Clear]').click()")
        page.until("document.querySelector('input[data-testid=file-upload]') !== null")
        page.drop("input[data-testid=file-upload]", tmp_path / "wrong.png")
        page.until(f"{NOTES}.includes('wrong.png: not a readable image: in no format that Pillow knows')")
        assert page.run("document.querySelectorAll('[data-testid=slider]').length") == 0  # nothing of the picture before is left
        (tmp_path / "photos" / "within").mkdir(parents=True)
        for path in (tmp_path / "photos" / files[0].name, tmp_path / "photos" / "within" / files[1].name):
            shutil.copy(PHOTOS / path.name, path)
        (tmp_path / "photos" / "notes.txt").write_text("no picture")
        page.drag(tmp_path / "photos")
        page.until(f"{NOTES}.includes('1 of 3 files are no pictures by their names, and were passed over')")
        page.until(f"document.querySelector('input[aria-label=Picture]').value === '{files[0].name}'")
        assert page.run("fetch('http://192.0.2.1/').then(() => 'sent', error => error.message)") == "Failed to fetch"
    for model in MODELS:
        (tmp_path / model).mkdir()
        (record,) = predict(model, FIRST, "-o", tmp_path / model)["result"]
        assert (tmp_path / "saved" / f"{FIRST.stem}.{model}.labels.png").read_bytes() == Path(record["labels"]).read_bytes()
    asked_for = {url.split("/")[2] for url in page.requests if not url.startswith(("data:", "blob:"))}
    assert len(page.requests) > 20
    assert asked_for - {"192.0.2.1"} == {address.removeprefix("http://")}


def looked_at(address, path):
    """What the page answers where a request names a file, or an address, as if it had been dropped."""
    functions = json.loads(asked(address, "/config")[1])["dependencies"]
    look = next(one["id"] for one in functions if len(one["inputs"]) == 4)
    dropped = {"path": path, "url": path, "orig_name": "x.jpg", "meta": {"_type": "gradio.FileData"}}
    request = {"data": [[dropped], None, MODELS[0], "no other model"], "fn_index": look, "session_hash": "stranger"}
    assert asked(address, "/gradio_api/queue/join", json.dumps(request), Content_Type="application/json")[0] == 200
    events = asked(address, "/gradio_api/queue/data?session_hash=stranger")[1]
    return next(one for line in events.splitlines() if line.startswith("data:") and (one := json.loads(line[5:]))["msg"] == "process_completed")


@page_is_here
def test_the_command_serves_the_page_until_ctrl_c_and_leaves_nothing(running, tmp_path):
    process, answer, wanted, temporary = running
    jsonschema.validate(answer, json.loads(packaged("output.schema.json").read_text()) | {"then": {}})
    address, port = answer["result"]["address"], int(answer["result"]["address"].rpartition(":")[2])
    assert answer["result"] == {"address": f"http://127.0.0.1:{port}", "models": [*MODELS, HOSTILE], "device": "cpu"}
    status, page = asked(address, "/")
    assert status == 200
    assert not re.search(r"<(script|link|iframe)[^>]+(src|href)=.(https?:)?//", page)
    for path in ("/docs", "/redoc", "/openapi.json", "/gradio_api/docs", "/gradio_api/mcp/"):
        assert asked(address, path)[0] in (404, 405), path
    for secret in ("/etc/hostname", str(tmp_path / "secret.txt"), str(OWN)):
        (tmp_path / "secret.txt").write_text("secret")
        assert asked(address, f"/gradio_api/file={secret}")[0] in (403, 404), secret
    assert json.loads(asked(address, "/gradio_api/info")[1])["named_endpoints"] == {}
    assert asked(address, "/config", Host="evil.example")[0] == 403
    assert asked(address, "/config", Origin="http://evil.example")[0] == 403
    assert asked(address, "/gradio_api/upload", b"", Origin="null")[0] == 403
    for path in (str(FIRST), "/etc/hostname", "http://192.0.2.1/x.jpg"):
        done = looked_at(address, path)
        assert (done["success"], "sky" in json.dumps(done)) == (False, False), done
    (folder,) = temporary.glob(".segzoo-view.*.part")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)
    assert (process.returncode, said[0]) == (130, "")
    assert said[1].splitlines()[:3] == [  # below them Gradio shows why it refused the files
        f"port {wanted} is taken: the page is at {port}",
        f"where your browser is, type: ssh -L {port}:127.0.0.1:{port} {getpass.getuser()}@::1",
        f"mini-mask, mini-linear, {HOSTILE} on cpu; Ctrl-C ends it",
    ]
    assert [path for path in temporary.iterdir() if "segzoo" in path.name] == []
    with listening(port) as again:
        assert again.getsockname()[1] == port
