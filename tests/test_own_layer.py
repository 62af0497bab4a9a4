"""docs/own-layer.md: its examples run, its links lead somewhere."""

from pages import Page

OWN_LAYER = Page("docs/own-layer.md")


def test_the_pages_examples_give_what_they_say():
    count, said = OWN_LAYER.examples()
    assert count >= 15
    assert not said, said


def test_the_pages_links_lead_somewhere():
    assert not OWN_LAYER.broken_links()


def test_the_layer_is_as_short_as_the_title_says():
    (source,) = [body for _, body in OWN_LAYER.blocks if "class Scale" in body]
    lines = source[source.index("class Scale") :].split("\n\n>>>")[0].splitlines()
    code = [line for line in lines if line.strip(". ")]
    assert len(code) <= 20
