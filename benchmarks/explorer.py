"""How fast the explorer answers, and what watching costs a training.

    python -m benchmarks.explorer

In Chromium, driven by Playwright: from a stroke of the pen until all maps are drawn, and from a
click on a pixel until its sum is shown, both as a person would have them, server and browser
sharing the machine; in the page that Python serves, and in the single file.  Then: 1,000 images
scored again with a filter switched off; the bytes of the single file; and epochs of training that
are watched by a page that looks at an image whenever it is told of the training, beside epochs that
are not, in alternation.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import alternate, options, ratios, spread, write_json
from benchmarks.networks import network, random_images
from glassbox.explorer.page import Page
from glassbox.explorer.session import Session
from glassbox.explorer.single_file import write
from glassbox.explorer.watching import Watch

AIMS = {"maps drawn": {"D 8/16": 50, "E CNN": 150}, "sum shown": {"D 8/16": 50, "E CNN": 50}}
STROKES = 30  # of each kind, after a few that warm up
WARM = 5
SAMPLES = 20  # images in the single file
FILTER_OFF = {"0": [0]}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# Draws a short line with the pen, or clicks a pixel of the first layer's first map, and waits until
# the page has measured what came of it.
ACT = """async ([name, number]) => {
    const latest = () => performance.getEntriesByName(name).at(-1);
    const before = latest()?.startTime;
    const selector = name === "maps drawn" ? ".draw" : "[data-address='0'] .maps canvas";
    const target = document.querySelector(selector);
    const box = target.getBoundingClientRect();
    const part = 0.2 + 0.06 * (number % 10);
    const at = (kind, part, type = PointerEvent) => target.dispatchEvent(new type(kind, {
        bubbles: true, pointerId: 1, button: 0, buttons: kind === "pointerup" ? 0 : 1,
        clientX: box.left + part * box.width, clientY: box.top + part * box.height,
    }));
    if (name === "maps drawn") {
        at("pointerdown", part);
        at("pointermove", part + 0.05);
        at("pointerup", part + 0.05);
    } else at("click", part, MouseEvent);
    for (let k = 0; k < 1000; k += 1) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        if (latest() && latest().startTime !== before) return latest().duration;
    }
    throw new Error(`${name}: nothing came of it`);
}"""

# A page without a browser: it listens, and looks at an image whenever it is told something.
LOOKING = """
import json, sys, urllib.request

def ask(word, **more):
    body = json.dumps({"id": 1, "ask": word, **more}).encode()
    kind = {"Content-Type": "application/json"}
    return urllib.request.urlopen(urllib.request.Request(sys.argv[1] + "ask", body, kind)).read()

image = json.loads(ask("sample", index=0))["image"]
looks = 0
for line in urllib.request.urlopen(sys.argv[1] + "events"):
    if line.startswith(b"data"):
        ask("look", image=image)
        looks += 1
        if b"ended" in line:
            break
print(looks)
"""


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """A page of the system's Chromium; SystemExit says what is missing."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        raise SystemExit(f"needed: pip install playwright, and a browser: {', '.join(BROWSERS)}")
    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened.new_page(viewport={"width": 1400, "height": 1000})
        opened.close()


def act(page: Any, url: str) -> dict[str, list[float]]:
    """Milliseconds of every stroke and of every click."""
    page.goto(url)
    page.wait_for_selector("[data-address='0'] .maps canvas")
    found = {}
    for what in AIMS:
        times = [page.evaluate(ACT, [what, number]) for number in range(WARM + STROKES)]
        found[what] = times[WARM:]
    return found


def in_browser(name: str) -> dict[str, Any]:
    """Milliseconds in the page and in the single file, and the file's bytes."""
    ours, data = network(name), random_images(1000)
    with browser() as page, tempfile.TemporaryDirectory() as folder:
        served = Page(Session(ours, data)).start()
        found: dict[str, Any] = {"page": act(page, served.url)}
        served.close()
        file = Path(write(ours, Path(folder) / "network.html", data.take(SAMPLES)))
        found["file"] = act(page, file.as_uri())
        found["bytes of the file"] = file.stat().st_size
    return found


def rescored(name: str, rounds: int) -> list[float]:
    """Seconds to score 1,000 images again, as they are and with a filter switched off."""
    session = Session(network(name), random_images(1000))
    found = []
    for _ in range(rounds + 1):
        begun = time.perf_counter()
        answer = session.answer({"id": 1, "ask": "rescore", "off": FILTER_OFF})
        found.append(time.perf_counter() - begun)
        assert "accuracy" in answer, answer
    return found[1:]


def epochs(name: str, images: int) -> dict[str, Callable[[], float]]:
    """How to train two epochs that are watched, and two that are not: the seconds."""
    data = random_images(images)

    def train(*callbacks: Any) -> float:
        ours = network(name)
        begun = time.perf_counter()
        ours.fit(data, epochs=2, batch_size=32, progress=False, callbacks=callbacks)
        return time.perf_counter() - begun

    def watched() -> float:
        with contextlib.redirect_stdout(io.StringIO()):
            ours = network(name)
            watch = Watch(ours, data, browser=False)
            watch.page.start()
            looking = [sys.executable, "-c", LOOKING, watch.page.url]
            with subprocess.Popen(looking, stdout=subprocess.PIPE, text=True) as page:
                while not watch.page.readers:
                    time.sleep(0.01)
                begun = time.perf_counter()
                ours.fit(data, epochs=2, batch_size=32, progress=False, callbacks=watch)
                seconds = time.perf_counter() - begun
                watch.page.close()
                assert page.stdout is not None and int(page.stdout.read()) > 1
        return seconds

    return {"not watched": train, "watched": watched}


def main() -> None:
    told = options(__doc__, "starlette", "uvicorn", "playwright", rounds=7)
    found: dict[str, Any] = {}
    for name in AIMS["maps drawn"]:
        own = found[name] = in_browser(name)
        own["seconds to rescore"] = rescored(name, told.rounds)
        images = 100_000 if name == "D 8/16" else 3_000
        own["seconds of two epochs"] = alternate(epochs(name, images), told.rounds)
        for host in ("page", "file"):
            for what, times in own[host].items():
                aim = AIMS[what][name]
                print(f"{name}, {host}: {what} after {spread(times)} ms (aim {aim})")
        print(f"{name}: the file has {own['bytes of the file']:,} bytes")
        print(f"{name}: 1,000 images scored again in {median(own['seconds to rescore']):.2f} s")
        slower = ratios(*reversed(own["seconds of two epochs"].values()))
        print(f"{name}: watched / not watched {spread(slower)}", flush=True)
    write_json(told.json, found, "starlette", "uvicorn", "playwright")


if __name__ == "__main__":
    main()
