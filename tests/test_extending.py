"""docs/extending.md: its parts run, its links lead somewhere, and it writes every kind of part."""

import re

import pytest
from pages import Page

EXTENDING = Page("docs/extending.md")


@pytest.mark.slow
def test_the_pages_examples_give_what_they_say():
    count, said = EXTENDING.examples()
    assert count >= 30
    assert not said, said


def test_the_pages_links_lead_somewhere():
    assert not EXTENDING.broken_links()


@pytest.mark.parametrize("base", ["Activation", "Loss", "Optimizer", "Dataset"])
def test_every_kind_of_part_is_written(base):
    code = "\n".join(body for _, body in EXTENDING.blocks)
    assert re.search(rf"class \w+\({base}\):", code)


def test_every_part_has_a_section_and_a_line_in_the_table():
    for word in ("layer", "activation", "loss", "optimizer", "data set", "callback"):
        article = "An" if word[0] in "aeiou" else "A"
        assert f"{article} {word}" in EXTENDING.sections
        assert f"| {article.lower()} {word} |" in EXTENDING.text
