"""The papers that activations are from, as BibTeX."""

import re
from collections.abc import Iterable

from search_space.catalog.lookup import get_entry

_ARXIV = re.compile(r"arXiv (\d{4}\.\d{5}|\d{4}\.\d{4})")
_DOI = re.compile(r"doi (\S+)")
_IDENTIFIER = re.compile(r"(, )?(arXiv|doi) \S+")


def bibtex(activations: Iterable[str]) -> str:
    """Return one entry for each paper that the named activations are from.

    Its key is `actsearch:` and the name of the first activation that the paper is cited for.
    """
    entries = {}
    for name in activations:
        entry = get_entry(name)
        if entry.year and entry.source not in entries:
            entries[entry.source] = _entry(f"actsearch:{name}", entry.source, entry.year)
    return "\n".join(entries.values())


def citation_keys(activations: Iterable[str]) -> list[str]:
    """Return the key of each paper in `bibtex`."""
    found: dict[str, str] = {}
    for name in activations:
        entry = get_entry(name)
        if entry.year:
            found.setdefault(entry.source, f"actsearch:{name}")
    return list(found.values())


def _entry(key: str, source: str, year: int) -> str:
    authors, title, where = _parts(source)
    arxiv, doi = _ARXIV.search(where), _DOI.search(where)
    fields = {
        "author": authors,
        "title": f"{{{title}}}",
        "year": str(year),
        "eprint": arxiv[1] if arxiv else "",
        "archiveprefix": "arXiv" if arxiv else "",
        "doi": doi[1] if doi else "",
        "howpublished": _IDENTIFIER.sub("", where),
    }
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items() if value)
    return f"@misc{{{key},\n{lines}}}\n"


def _parts(source: str) -> tuple[str, str, str]:
    """Split `A, B and C, Title, Where` into authors as BibTeX writes them, title, and the rest."""
    names, _, rest = source.removeprefix("after ").partition(" and ")
    if rest:
        last, _, rest = rest.partition(", ")
        names = f"{names}, {last}"
    else:
        names, _, rest = names.partition(", ")
    title, _, where = rest.partition(", ")
    return names.replace(", ", " and ").replace(" et al.", " and others"), title, where
