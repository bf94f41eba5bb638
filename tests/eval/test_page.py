"""The page of a run is one file in which other people's text stays text, and a browser plays it as it is meant."""

import base64
import json
from html.parser import HTMLParser

import pytest
import torch

from data.video.frames import write_video
from eval.page.media import LIMIT, Media
from eval.page.page import write_page
from runtime.files import write_json

HOSTILE = """<script>document.title = "taken"</script>"><img src=x onerror='document.title = "taken"'>&amp;"""


def write_run(folder):
    """What `eval.report` and others leave in a run, with a name that wants to be more than text wherever it can."""
    players = folder / "evaluation/players"
    players.mkdir(parents=True)
    (folder / "generator").mkdir()
    numbers = torch.Generator().manual_seed(0)
    for name, width in (("parts", 4), ("swap", 3), ("samples", 4)):
        frames = torch.randint(256, (16, 32, 32 * width, 3), dtype=torch.uint8, generator=numbers)
        write_video(players / f"{name}.mp4", frames, 8)
    shown = {"fps": 8.0, "sampled_classes": 1}
    shown["parts"] = [{"file": "parts.mp4", "class": HOSTILE}]
    shown["swaps"] = [{"file": "swap.mp4", "structure": HOSTILE, "dynamics": "b"}]
    shown["samples"] = [{"file": "samples.mp4", "class": HOSTILE, "made": 20}]
    write_json(players / "players.json", shown)
    figures = {"data": HOSTILE, "fps": 8.0, "clip": [16, 48, 48], "values": 2048, "rate": 0.0185, "clips": 170}
    figures |= {"latents": {"structure": [8, 8, 4, 4], "dynamics": [8, 16, 8]}, "ssim": {"reconstruction": 0.8}}
    figures |= {"psnr": {"reconstruction": 25.7, "trivial": 22.2}, "accuracy_by_class": {HOSTILE: 0.65}}
    figures |= {"accuracy": {"real": 1.0, "reconstruction": 0.99, "generated": 0.65, "chance": 0.1}}
    write_json(folder / "evaluation/report.json", figures)
    fvd = {"fvd": 123.45, "num_real": 2, "num_generated": 3, "protocol": HOSTILE, "protocol_string": HOSTILE}
    write_json(folder / "evaluation/fvd-mine.json", fvd)
    write_json(folder / "evaluation/conditional.json", {HOSTILE: {"accuracy": 0.5}})
    told = {"commit": HOSTILE, "command": [HOSTILE], "python": "3", "packages": {HOSTILE: "1"}, "devices": [HOSTILE]}
    write_json(folder / "environment.json", told | {"world_size": 1})
    write_json(folder / "steps.json", {HOSTILE: {"seconds": 61.0}, "b": {"seconds": 5.0}})
    cost = {"name": HOSTILE, "parameters": 1234567, "training_flops": 2e9, "training_memory": 3e7, "encode_flops": 1e9}
    write_json(folder / "evaluation/cost.json", [cost])
    for file, metrics in (("metrics.jsonl", {"psnr": 20.0, "loss": 9.0}), ("generator/metrics.jsonl", {"loss": 1.0})):
        rows = ({"step": step, **{name: value / step for name, value in metrics.items()}} for step in range(1, 20))
        (folder / file).write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write_page(write_run(tmp_path_factory.mktemp("runs") / "<b>run"))


class Reader(HTMLParser):
    """Every tag with its attributes, and all text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def test_names_stay_text_and_nothing_points_elsewhere(page):
    read = Reader(page.read_text())
    names = [tag for tag, _ in read.tags]
    assert names.count("script") == 1
    assert {"b", "iframe", "link", "object", "base", "form"}.isdisjoint(names)
    text = "".join(read.text)
    assert text.count(HOSTILE) > 12  # captions, tables, bars, commands, versions
    assert "<b>run" in text
    for _, attributes in read.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "poster", "action"):
            assert attributes.get(name, "#").startswith(("data:", "#"))
    assert names.count("video") == 3
    for tag, attributes in read.tags:
        if tag == "video":
            assert {"muted", "loop", "playsinline"} <= attributes.keys()


def test_what_is_quoted_says_so_and_what_is_ours_does_not(page):
    text = " ".join("".join(Reader(page.read_text()).text).split())
    for row in ("iVideoGPT quoted 1.50% 19.353", "VidTwin quoted 0.20% 28.137 0.2414 0.8044 388.86", "TATS quoted 332"):
        assert row.replace(" ", "") in text.replace(" ", "")
    assert "<b>run1.85%25.700–0.8000–".replace(" ", "") in text.replace(" ", "")


def test_figures_of_several_models_stand_below_their_own_table(tmp_path):
    folder = write_run(tmp_path / "run")
    for name, model in (("reconstruction-a", "one"), ("reconstruction-b", HOSTILE)):
        row = {"model": model, "output": "reconstruction", "rate": None, "bits_per_pixel": 0.4375, "fvd": 67.891}
        found = {"data": "films", "clips": 9, "frames": 16, "size": [48, 48], "fps": 8.0}
        write_json(folder / f"evaluation/{name}.json", found | {"rows": [row | {"psnr": {"mean": 27.94}}]})
    drawn = [base64.b64encode(name.encode()).decode() for name in ("b-rate", "b-time")]
    for name in ("rate", "time"):
        (folder / f"evaluation/reconstruction-b-{name}.png").write_text(f"b-{name}")
    page = write_page(folder).read_text()
    assert "".join("".join(Reader(page).text).split()).count("0.438–27.940––67.89") == 2
    places = [page.index(f"data:image/png;base64,{picture}") for picture in drawn]
    assert places == sorted(places)
    assert page.rindex("Reconstruction of films") < places[0] < page.index("Generation (Table 2)")
    assert page.count("Quality against bits a pixel</figcaption>") == 1


def test_media_are_whole_or_left_out_and_named(tmp_path):
    folder = write_run(tmp_path / "run")
    picture = folder / "evaluation/sweep.png"
    with picture.open("wb") as file:
        file.truncate(16_000_000)  # 21.3 MB as text
    write_json(folder / "evaluation/sweep.json", [{"num": 100}])
    assert len(write_page(folder).read_bytes()) < 20_000_000
    assert "under 20 MB: sweep.png" in (folder / "report.html").read_text()
    media, small = Media(100), tmp_path / "small.png"
    assert (media(picture), media.left_out) == (None, ["sweep.png"])
    small.write_bytes(b"ten bytes.")
    uri = media(small)
    assert base64.b64decode(uri.removeprefix("data:image/png;base64,")) == b"ten bytes."
    assert media.room == 100 - len(uri)
    with picture.open("wb") as file:
        file.truncate((LIMIT - 100) // 4 * 3)
    whole = Media()
    assert len(whole(picture)) <= LIMIT
    assert whole.room >= 0


VIDEOS = "[...document.querySelectorAll('video')]"


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)], ids=["desk", "phone"])
def test_a_browser_plays_every_video_and_complains_of_nothing(browser, page, width, height):
    browser.open(page, width, height, "light")
    assert browser.evaluate("document.title") == "<b>run · VidTwin"
    for place in range(3):
        browser.evaluate(f"{VIDEOS}[{place}].scrollIntoView({{behavior: 'instant', block: 'center'}})")
        browser.wait(f"{VIDEOS}[{place}].readyState >= 3 && !{VIDEOS}[{place}].paused")
        browser.evaluate(f"window.before = {VIDEOS}[{place}].currentTime")
        browser.wait(f"{VIDEOS}[{place}].currentTime != window.before")
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    assert browser.problems() == []


def test_one_button_stops_all_and_they_are_in_step(browser, page):
    browser.open(page, 1280, 20_000, "light")  # all in view
    browser.wait(f"{VIDEOS}.every((video) => video.readyState >= 3 && !video.paused)")
    browser.evaluate("document.getElementById('toggle').click()")
    browser.wait(f"{VIDEOS}.every((video) => video.paused && !video.seeking)")
    [moment] = set(browser.evaluate(f"{VIDEOS}.map((video) => video.currentTime.toFixed(3))"))
    assert 0 <= float(moment) <= 2
    assert browser.evaluate("document.getElementById('toggle').textContent") == "Play"
    browser.evaluate(f"{VIDEOS}[0].click()")
    browser.wait(f"{VIDEOS}.every((video) => !video.paused)")


def test_a_dark_system_gets_a_dark_page(browser, page):
    shades = []
    for scheme in ("light", "dark"):
        browser.open(page, 390, 844, scheme)
        colour = browser.evaluate("getComputedStyle(document.body).backgroundColor")
        shades.append(sum(int(value) for value in colour.removeprefix("rgb(").removesuffix(")").split(",")))
    assert shades[0] > 3 * 200
    assert shades[1] < 3 * 60


def test_the_check_itself_sees_errors_and_requests(browser, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text("<img src='http://127.0.0.1:9/x.png'><script>undefined_function()</script>")
    browser.open(bad, 390, 844, "light")
    found = {problem["method"] for problem in browser.problems()}
    assert found >= {"Runtime.exceptionThrown", "Network.requestWillBeSent"}
