"""Draw the README's pictures of the explorer: docs/explorer.png and docs/explorer.gif.

    pip install playwright            # it drives the Chromium that is installed
    python docs/draw_explorer.py

Opens the small network that comes with the project, draws a digit with the pen, and follows one
number back to the image.
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

HERE = Path(__file__).parent
NETWORK = HERE.parent / "glassbox" / "explorer" / "networks" / "mnist.safetensors"
THREE = [(0.3, 0.24), (0.5, 0.16), (0.68, 0.28), (0.6, 0.42), (0.45, 0.48), (0.62, 0.54),
         (0.72, 0.68), (0.55, 0.84), (0.3, 0.76)]  # fmt: skip
SIZE: Any = {"width": 1500, "height": 900}
SHRUNK = 0.66  # of the moving picture
COLORS = 255


class Film:
    """Pictures of a page, each with how long it stays."""

    def __init__(self, page: Any) -> None:
        self.page, self.frames, self.milliseconds = page, list[Any](), list[int]()

    def take(self, milliseconds: int) -> None:
        """One more picture."""
        from PIL import Image

        picture = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        size = round(picture.width * SHRUNK), round(picture.height * SHRUNK)
        picture = picture.resize(size, Image.Resampling.LANCZOS)
        self.frames.append(picture)
        self.milliseconds.append(milliseconds)

    def save(self, path: Path) -> None:
        """Write them as a GIF with one palette for all, so that what stays is stored once."""
        from PIL import Image

        width, height = self.frames[0].size
        all_of_them = Image.new("RGB", (width, height * len(self.frames)))
        for k, frame in enumerate(self.frames):
            all_of_them.paste(frame, (0, k * height))
        palette = all_of_them.quantize(COLORS, Image.Quantize.MEDIANCUT)
        frames = [each.quantize(palette=palette, dither=Image.Dither.NONE) for each in self.frames]
        frames[0].save(
            path, save_all=True, append_images=frames[1:], duration=self.milliseconds, loop=0,
            optimize=True,
        )  # fmt: skip


def draw(page: Any, film: Film) -> None:
    """A three, stroke by stroke."""
    box = page.locator(".draw").first.bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in THREE]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=6)
        page.wait_for_timeout(150)
        film.take(220)
    page.mouse.up()
    page.wait_for_timeout(300)
    film.take(1200)


def click(page: Any, layer: str, channel: int, part: tuple[float, float]) -> None:
    """A pixel of a map, at these parts of its width and height."""
    box = page.locator(f"[data-address='{layer}'] .maps canvas").nth(channel).bounding_box()
    page.mouse.click(box["x"] + part[0] * box["width"], box["y"] + part[1] * box["height"])
    page.wait_for_timeout(500)


def main() -> None:
    """Write both pictures."""
    from playwright.sync_api import sync_playwright

    from CNN import CNN
    from glassbox.explorer.page import Page
    from glassbox.explorer.session import Held, Session

    served = Page(Session([Held("handwritten digits", CNN.load(NETWORK))])).start()
    path = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(served.url)
        page.wait_for_selector("[data-address='0'] .maps canvas")
        page.get_by_role("button", name="Close the guide").click()  # the cards
        page.get_by_role("button", name="clear").click()
        film = Film(page)
        film.take(700)
        draw(page, film)
        click(page, "2", 6, (0.55, 0.52))
        film.take(2500)
        page.screenshot(path=HERE / "explorer.png")
        for _ in range(2):
            page.get_by_role("button", name="largest term").click()
            page.wait_for_timeout(500)
            film.take(2200)
        page.get_by_role("button", name="Close the panel").click()
        for channel in (3, 4, 5):
            page.get_by_role("button", name=f"conv1, filter {channel}: on").click()
            page.wait_for_timeout(400)
            film.take(700)
        film.take(2500)
        film.save(HERE / "explorer.gif")
        browser.close()
    served.close()


if __name__ == "__main__":
    main()
