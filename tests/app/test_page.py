"""The served page in a browser: every tab used with a real file, no other machine asked, nothing left behind."""

import json
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from html.parser import HTMLParser
from importlib.util import find_spec

import pytest

from app.__main__ import main
from data.video.frames import probe

pytestmark = pytest.mark.skipif(find_spec("gradio") is None, reason="Gradio is not installed: make app")

BUTTONS = "[...document.querySelectorAll('button')].filter((button) => button.offsetParent)"
# Gradio's own, of a stream of its upload that has ended.
HARMLESS = "Method not implemented."


class Server:
    """The command itself, and where it keeps its files."""

    def __init__(self, start, run, place):
        self.place = place
        command = ("-m", "app", "--weights", str(run), "--port", str(PORTS[0]))
        self.process = start(*command, env={"TMPDIR": str(place)})
        while not (found := re.search(r" is shown at (\S+)\s", self.process.said())):
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.05)
        self.address = found[1]

    def files(self):
        return sorted(path for path in self.place.rglob("*") if path.is_file())

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.communicate(timeout=60)
        return self.process.returncode


PORTS = []


@pytest.fixture(scope="module")
def server(app_run, start, tmp_path_factory, free_port):
    PORTS[:] = [free_port()]
    found = Server(start, app_run, tmp_path_factory.mktemp("temporary"))
    yield found
    if found.process.poll() is None:
        found.stop()


def open_page(browser, server, width=1280, scheme="light"):
    browser.visit(server.address, width, 1000, scheme)
    browser.wait("document.querySelector('.examples button') != null")


def go(browser, tab):
    tabs = "[...document.querySelectorAll('button[role=tab]')]"
    browser.evaluate(f"{tabs}.find((each) => each.textContent.trim() == '{tab}').click()")
    browser.wait(f"document.querySelector('button[role=tab][aria-selected=true]').textContent.trim() == '{tab}'")


def press(browser, name):
    found = f"{BUTTONS}.filter((each) => each.textContent.trim() == '{name}').at(-1)"  # tabs come first
    browser.wait(f"(() => {{ const found = {found}; return found && !found.disabled }})()")
    browser.evaluate(f"{found}.click()")


def playing(browser, kind, but=""):
    """The address of the video of that kind, once it plays and is another than `but`."""
    video = f"document.querySelector('.{kind} video')"
    browser.wait(f"{video} && {video}.src != {json.dumps(but)} && {video}.readyState >= 3")
    return browser.evaluate(f"{video}.src")


def get(address):
    """The security policy and the text of an answer."""
    with urllib.request.urlopen(address, timeout=30) as answer:
        return answer.headers["Content-Security-Policy"], answer.read().decode()


def fetched(address, path):
    with urllib.request.urlopen(address, timeout=30) as answer:
        path.write_bytes(answer.read())
    return probe(path)


def complaints(browser, server):
    said = browser.problems((server.address, "data:", "blob:"))
    return [each for each in said if HARMLESS not in json.dumps(each)]


class Names(HTMLParser):
    """What a page names in attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found += [value for _, value in attrs if value]


def test_the_page_names_no_other_machine_and_may_ask_none(server):
    policy, text = get(server.address)
    assert server.address.startswith("http://127.0.0.1:")
    assert "default-src 'self'" in policy
    assert "connect-src 'self'" in policy
    assert not [name for name in Names(text).found if "//" in name and not name.startswith(server.address)]
    assert "https://" not in text.replace(server.address, "")
    assert json.loads(get(f"{server.address}config")[1])["analytics_enabled"] is False
    assert "@import" not in get(f"{server.address}theme.css")[1]  # fonts of others


JOBS = """
import json, sys, torch
from pathlib import Path
from app.examples import find_examples
from app.page import build
from app.weights import open_weights

models = open_weights(Path(sys.argv[1]), torch.device("cpu"))
page = build(models, find_examples(models, Path(".")), Path("."))
print(json.dumps([[fn.queue, fn.concurrency_id, fn.concurrency_limit, fn.api_visibility] for fn in page.fns.values()]))
"""


def test_jobs_wait_for_one_another_and_none_has_an_interface(app_run, start, tmp_path):
    out, err = start("-c", JOBS, str(app_run), env={"GRADIO_TEMP_DIR": str(tmp_path)}).communicate()
    assert out, err
    events = json.loads(out.splitlines()[-1])
    assert sum(queued for queued, *_ in events) > 12
    assert {(name, limit) for queued, name, limit, _ in events if queued} == {("models", 1)}
    assert {visibility for *_, visibility in events} == {"private"}


def test_files_of_this_machine_are_not_served(server):
    for path in ("/etc/passwd", str(server.place / ".." / "x"), __file__):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(f"{server.address}gradio_api/file={path}", timeout=30)
        error.value.close()
        assert error.value.code in (403, 404)


def test_a_video_of_ones_own_is_taken_apart_and_changed(browser, server, videos, tmp_path):
    open_page(browser, server)
    browser.choose_file("input[type=file]", videos / "a.mp4")
    first = playing(browser, "strip")
    info = fetched(first, tmp_path / "shown.mp4")
    assert (info.frames, info.width, info.height) == (11, 4 * 144, 144)
    tiles = browser.evaluate("[...document.querySelectorAll('.tiles strong')].map((each) => each.textContent)")
    assert len(tiles) == 5
    assert tiles[0].endswith(" dB")
    assert "kB" in tiles[3]
    frozen = "document.querySelector('input[type=checkbox]')"
    browser.evaluate(f"{frozen}.click()")
    assert playing(browser, "strip", first) != first
    assert complaints(browser, server) == []


def test_one_click_shows_an_example_on_a_phone_in_the_dark(browser, server):
    open_page(browser, server, 390, "dark")
    browser.evaluate("document.querySelector('.examples button').click()")
    playing(browser, "strip")
    assert browser.evaluate("document.documentElement.scrollWidth") == 390
    colour = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(int(value) for value in colour.removeprefix("rgb(").removesuffix(")").split(",")) < 3 * 60
    assert complaints(browser, server) == []


@pytest.mark.parametrize("name", ["no.mp4", "<img src=x onerror=document.title='taken'>.mp4"])
def test_what_is_no_video_ends_in_one_line(browser, server, tmp_path, name):
    open_page(browser, server)
    (tmp_path / name).write_text("no video")
    browser.choose_file("input[type=file]", tmp_path / name)
    browser.wait("document.querySelector('.toast-message-text') != null")
    said = browser.evaluate("document.querySelector('.toast-message-text').textContent")
    assert "is no video in a file that is known here" in said
    assert browser.evaluate("document.querySelectorAll('.toast-message-text img').length") == 0
    assert browser.evaluate("document.title") != "taken"


def test_two_videos_are_swapped_and_walked_between(browser, server, tmp_path):
    open_page(browser, server)
    go(browser, "Swap")
    press(browser, "Swap")
    strip, between = playing(browser, "strip"), playing(browser, "single")
    assert fetched(strip, tmp_path / "strip.mp4").width == 4 * 144
    assert fetched(between, tmp_path / "between.mp4").width == 144
    assert complaints(browser, server) == []


def test_videos_are_generated_and_one_is_kept(browser, server, tmp_path):
    open_page(browser, server)
    go(browser, "Generate")
    press(browser, "Generate")
    first = playing(browser, "grid")
    assert fetched(first, tmp_path / "grid.mp4").frames == 4
    browser.wait("document.querySelectorAll('.samples .thumbnail-item').length == 8")
    browser.evaluate("document.querySelectorAll('.samples .thumbnail-item')[2].click()")
    third = browser.evaluate("document.querySelectorAll('.samples .thumbnail-item video')[2].src")
    assert fetched(playing(browser, "single"), tmp_path / "one.mp4").frames == 4
    assert (tmp_path / "one.mp4").read_bytes() == fetched(third, tmp_path / "third.mp4").path.read_bytes()
    press(browser, "Keep its structure, draw new dynamics")
    assert playing(browser, "grid", first) != first
    # None of the new ones is chosen.
    browser.wait("document.querySelector('.samples .selected') == null && !document.querySelector('.single video')")
    browser.wait(f"{BUTTONS}.filter((each) => each.textContent.includes('Keep its') && each.disabled).length == 2")
    assert complaints(browser, server) == []


def test_latents_are_shown_and_read(browser, server):
    open_page(browser, server)
    go(browser, "Look inside")
    browser.evaluate(f"{BUTTONS}.find((each) => each.closest('.examples')).click()")
    browser.wait("document.querySelectorAll('.readings tbody tr').length == 6")
    browser.wait("[...document.querySelectorAll('.map img')].filter((each) => each.naturalWidth > 600).length == 2")
    assert complaints(browser, server) == []


def test_when_it_ends_nothing_of_it_is_left(browser, server):
    """Runs last: the browser has made the server write and take files."""
    assert [path for path in server.files() if path.suffix == ".mp4"]
    browser.visit("about:blank", 400, 400, "light")
    assert server.stop() == 130
    assert server.files() == []


def test_wrong_calls_are_one_line(capsys, tmp_path):
    assert main(["--weights", str(tmp_path)]) == 2
    assert "holds no autoencoder" in capsys.readouterr().err
    assert main(["--weights", str(tmp_path), "--prot", "1"]) == 2
    assert "did you mean --port?" in capsys.readouterr().err


def test_a_port_that_is_taken_is_one_line(app_run, launch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = launch("app", "--weights", str(app_run), "--port", str(port))
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith(f"error: cannot listen at 127.0.0.1:{port}")
