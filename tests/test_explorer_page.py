"""The explorer's page in a real browser: it stays at home, and outlives its server."""

import pytest

from CNN import CNN
from Datasets import Digits
from Filters import Conv2D
from glassbox.explorer.page import Page
from glassbox.explorer.session import Session
from MLP import Dense

pytestmark = pytest.mark.slow
TOKEN = "t" * 20
DATA = Digits()


@pytest.fixture(scope="module")
def session():
    network = CNN(Conv2D(3), Dense(10), seed=1)
    network.fit(DATA.train.take(200), epochs=1, progress=False)
    return Session(network, DATA.test)


@pytest.fixture
def served(session):
    made = Page(session, token=TOKEN).start()
    yield made
    made.close()


def opened(page, url):
    """The page at an address, once it has drawn what it knows of the network."""
    page.context.set_offline(False)
    page.goto(url)
    page.get_by_text("conv1").filter(visible=True).first.wait_for()
    return page


def test_the_page_opens_and_every_request_stays_at_home(page, served):
    opened(page, served.url)
    assert f"{served.url}ask" in page.requests
    assert all(address.startswith(served.url) for address in page.requests)
    assert page.complaints == []


def test_the_page_says_that_the_server_is_gone_and_goes_on_when_it_is_back(page, served, session):
    opened(page, served.url)
    notice = page.get_by_role("alert").filter(has_text="does not answer")
    assert notice.count() == 0
    served.close()
    notice.wait_for()
    port = served.socket_address[1]
    again = Page(session, port=port, token=TOKEN).start()
    try:
        assert again.url == served.url
        with page.expect_response(f"{again.url}ask") as asked:  # for what it missed
            notice.wait_for(state="hidden")
        assert asked.value.request.post_data_json["ask"] == "describe"
        assert asked.value.ok
    finally:
        again.close()


def test_a_server_under_another_address_is_not_taken_for_this_one(page, served, session):
    opened(page, served.url)
    served.close()
    other = Page(session, port=served.socket_address[1]).start()
    try:
        page.wait_for_event("response", lambda reply: reply.status == 404)
        assert "open the address" in page.get_by_role("alert").first.inner_text()
    finally:
        other.close()


def test_two_tabs_hear_of_the_same_event(page, served):
    opened(page, served.url)
    second = opened(page.context.new_page(), served.url)
    while len(served.readers) < 2:  # both listen
        second.evaluate("0")
    for tab in (second, page):
        with tab.expect_request(lambda each: "describe" in (each.post_data or "")):
            served.send({"event": "networks"})
