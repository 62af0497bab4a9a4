"""Class names that fit where there is little room."""

from collections import Counter
from collections.abc import Sequence


def short_names(names: Sequence[str], width: int) -> list[str]:
    """Cut every name to at most `width` characters and keep the results apart.

    A cut name ends in a dot. Where two names would look alike, both show their class number
    instead of the dot.

    >>> short_names(["Bag", "Ankle boot", "Pullover"], 5)
    ['Bag', 'Ankl.', 'Pull.']
    >>> short_names(["number one", "number two"], 5)
    ['numb0', 'numb1']

    Raises ValueError when `width` leaves no room for a letter and a dot.
    """
    if width < 2:
        raise ValueError(f"short_names: got width {width}, expected 2 or more; give the names room")
    texts = [str(name) for name in names]
    short = [t if len(t) <= width else t[: width - 1].rstrip(" .-_/") + "." for t in texts]
    alike = Counter(short)
    return [
        s if alike[s] == 1 else f"{t[: max(width - len(str(i)), 0)]}{i}"
        for i, (s, t) in enumerate(zip(short, texts, strict=True))
    ]
