"""One page that holds a whole run: it opens from the disk, without a server, network or script."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from glassbox.report.results import as_json


@dataclass(frozen=True)
class Picture:
    """A PNG with a title, a file name without its ending, and a sentence on how to read it."""

    name: str
    title: str
    note: str
    png: bytes


@dataclass(frozen=True)
class Table:
    """Column heads and rows of texts; numbers are aligned at the right, and so are their heads."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Listing:
    """Text whose blanks and line ends count."""

    text: str


@dataclass(frozen=True)
class Switch:
    """Up to three pictures of which one is shown, each under a word to choose it by."""

    name: str
    choices: Mapping[str, Picture]


@dataclass(frozen=True)
class Link:
    """A file beside the page, and what to say of it."""

    text: str
    file: str


Part = str | Picture | Table | Listing | Switch | Link

# Nothing may be fetched: should a link slip in, the browser refuses to follow it.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --paper: #fff; --soft: #52606d; --line: #cbd2d9;
  --faint: #e4e7eb; --box: #f5f7fa; --link: #0072b2 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #dde3ea; --paper: #15191e; --soft: #9aa7b5; --line: #46515d; --faint: #2b333c;
    --box: #1e242b; --link: #6cb8ea }
  img { filter: brightness(0.87) }
}
body { margin: 0 auto; padding: 1rem; max-width: 64rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word }
h1 { font-size: 1.6rem; margin: 0.5rem 0 }
h2 { font-size: 1.2rem; margin: 2.2rem 0 0.6rem; padding-top: 0.6rem;
  border-top: 1px solid var(--line) }
p { max-width: 42rem }
nav a, .link a { color: var(--link); } nav a { margin-right: 0.9rem; white-space: nowrap }
.wide { overflow-x: auto; margin: 0.8rem 0 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: 0.2rem 0.7rem; border-bottom: 1px solid var(--faint); text-align: left;
  vertical-align: top }
th { color: var(--soft); font-weight: 600 }
.number { text-align: right }
td { overflow-wrap: break-word } td.number { white-space: nowrap }
pre { font: clamp(0.55rem, 2.5vw, 0.85rem)/1.4 ui-monospace, monospace; overflow-x: auto;
  padding: 0.7rem 0; background: var(--box) }
figure { margin: 1.6rem 0; break-inside: avoid }
figcaption { max-width: 42rem; margin-bottom: 0.4rem } figcaption b { display: block }
img { display: block; max-width: 100%; height: auto; border-radius: 3px }
details { overflow-x: auto } summary { list-style: none; cursor: zoom-in }
summary::-webkit-details-marker { display: none }
details[open] > summary { cursor: zoom-out }
details[open] img { width: max(150%, 66rem); max-width: none }
.switch { margin: 1.6rem 0 } .switch figure { display: none; margin: 0.6rem 0 }
.switch label { color: var(--link); margin-right: 1rem; cursor: pointer }
.switch :checked + label { color: var(--ink); font-weight: 600 }
SWITCHES { display: block }
@media (max-width: 40rem) {
  body { padding: 0.7rem } h1 { font-size: 1.35rem } th, td { padding: 0.2rem 0.35rem }
  table { font-size: 0.85rem }
}
@media print {
  :root { --ink: #1f2933; --paper: #fff; --soft: #52606d; --box: #f5f7fa }
  body { max-width: none; padding: 0; font-size: 10pt } img { filter: none }
  nav { display: none } h2 { break-after: avoid } tr { break-inside: avoid }
  .wide, pre { overflow: visible } pre { white-space: pre-wrap; font-size: 7pt }
  table { font-size: 8pt } th, td { padding: 0.1rem 0.4rem } img { max-height: 21cm }
}
""".replace(
    "SWITCHES",
    ", ".join(
        f".switch input:nth-of-type({n}):checked ~ figure:nth-of-type({n})" for n in (1, 2, 3)
    ),
)


def page(title: str, lead: str, sections: Mapping[str, Sequence[Part]]) -> str:
    """Write an HTML page of headed sections, the pictures inside it.

    title, lead    the heading, and a sentence below it
    sections       heading -> texts (paragraphs), pictures, tables and listings; one without
                   parts is left out

    All texts are taken as texts: a class called "<b>" is shown so.
    """
    filled = {_text(heading): parts for heading, parts in sections.items() if parts}
    links = "".join(f'<a href="#part{n}">{heading}</a> ' for n, heading in enumerate(filled))
    body = "\n".join(
        f'<section>\n<h2 id="part{n}">{heading}</h2>\n'
        + "\n".join(map(_part, parts))
        + "\n</section>"
        for n, (heading, parts) in enumerate(filled.items())
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{_text(title)}</h1>
<p>{_text(lead)}</p>
<nav>{links}</nav>
</header>
<main>
{body}
</main>
</body>
</html>
"""


def facts(values: Mapping[str, Any]) -> Table:
    """Make a table of names and values; a value within a value is named "outer: inner".

    >>> facts({"options": {"epochs": 3, "preview": None}, "rate": 0.1 + 0.2}).rows
    [('options: epochs', '3'), ('options: preview', '-'), ('rate', '0.3')]

    Raises TypeError for values that `as_json` does not know.
    """
    return Table(("", ""), _flat(as_json(dict(values)), ""))


def readable(value: Any) -> str:
    """Write a value for people: numbers short, nothing as a dash, lists with commas.

    >>> [readable(value) for value in (True, 1234567, 0.98765432, 1e-7, 22915.4, None, [1, 28])]
    ['yes', '1,234,567', '0.9877', '1e-07', '22,915', '-', '1, 28']
    """
    if value is None or isinstance(value, bool):
        return {None: "-", True: "yes", False: "no"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if 1e3 <= abs(value) < 1e12 else f"{value:.4g}"
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {readable(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(readable, value)) or "-"
    return str(value)


def _flat(values: Mapping[str, Any], outer: str) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{outer}{key}"
        if isinstance(value, Mapping):
            rows += _flat(value, f"{name}: ")
        elif isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
            rows += [(f"{name} {number}", readable(v)) for number, v in enumerate(value, 1)]
        else:
            rows.append((name, readable(value)))
    return rows


def _part(part: Part) -> str:
    if isinstance(part, Picture):
        data = b64encode(part.png).decode("ascii")
        note = f" {_text(part.note)}" if part.note else ""
        return (
            f'<figure id="{_text(part.name)}">\n'
            f"<figcaption><b>{_text(part.title)}</b>{note}</figcaption>\n"
            f'<details><summary><img alt="{_text(part.title)}" '
            f'src="data:image/png;base64,{data}"></summary></details>\n</figure>'
        )
    if isinstance(part, Switch):
        return _switch(part)
    if isinstance(part, Link):
        return f'<p class="link"><a href="{_text(part.file)}">{_text(part.text)}</a></p>'
    if isinstance(part, Table):
        return _table(part)
    return (
        f"<pre>{_text(part.text)}</pre>" if isinstance(part, Listing) else f"<p>{_text(part)}</p>"
    )


def _switch(part: Switch) -> str:
    name = _text(part.name)
    buttons = [
        f'<input type="radio" name="{name}" id="{name}-{n}"{"" if n else " checked"}>'
        f'<label for="{name}-{n}">{_text(word)}</label>'
        for n, word in enumerate(part.choices)
    ]
    figures = map(_part, part.choices.values())
    return "\n".join(['<div class="switch">', *buttons, *figures, "</div>"])


def _table(table: Table) -> str:
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.heads)
    named = zip(table.heads, columns, strict=True)
    classes = [
        ' class="number"' if h and all(map(_is_number, column)) else "" for h, column in named
    ]

    def line(tag: str, texts: Sequence[str]) -> str:
        cells = zip(classes, texts, strict=True)
        return "".join(f"<{tag}{kind}>{_text(text)}</{tag}>" for kind, text in cells)

    head = f"<thead><tr>{line('th', table.heads)}</tr></thead>\n" if any(table.heads) else ""
    rows = "\n".join(f"<tr>{line('td', row)}</tr>" for row in table.rows)
    return f'<div class="wide"><table>\n{head}<tbody>\n{rows}\n</tbody></table></div>'


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "").removesuffix("%"))
    except ValueError:
        return text in ("-", "undefined")
    return True


def _text(text: Any) -> str:
    return escape(str(text), quote=True)
