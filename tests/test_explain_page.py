"""docs/explain.md: its examples run, its names are where it says, and it names every function."""

import inspect

from pages import Page, definitions

from glassbox import explain

PAGE = Page("docs/explain.md")


def test_every_example_gives_what_it_says():
    count, said = PAGE.examples()
    assert count > 20
    assert not said, said


def test_every_function_is_named_and_where_its_link_points():
    for name, link in PAGE.named:
        assert name in definitions((PAGE.path.parent / link).resolve())
    functions = {n for n in explain.__all__ if inspect.isfunction(getattr(explain, n))}
    assert functions == {name for name, _ in PAGE.named}
