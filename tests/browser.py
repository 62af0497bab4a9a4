"""A browser for the tests of the explorer: `page` is an empty page in one that has no network.

The browser is the system's own, named by its path; without one these tests are skipped.
A page that speaks to a server on this machine says `page.context.set_offline(False)` first.
"""

import shutil
from contextlib import contextmanager

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser():
    """One browser for the tests of a file.

    Not one for all tests: its event loop counts as running, and others start their own.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"there is no browser: none of {', '.join(NAMES)} is on the PATH")
    with playwright.sync_playwright() as started:
        # as root, as in a container, Chromium refuses its sandbox
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def empty_page(browser):
    """An empty page without a network.

    `page.requests` lists the address of each request but those for data that it holds itself, and
    `page.complaints` what it wrote on the console as an error or threw.
    """
    with browser.new_context(offline=True) as context:
        page = context.new_page()
        page.requests, page.complaints = [], []
        page.on("request", lambda request: page.requests.append(request.url))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on(
            "console",
            lambda said: page.complaints.append(said.text) if said.type == "error" else None,
        )
        yield page


@pytest.fixture
def page(browser):
    """An `empty_page` for one test."""
    with empty_page(browser) as page:
        yield page
