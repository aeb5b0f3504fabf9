"""Writes a bundle: one zip file with all that a user needs of the best config of a search."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import yaml
from sqlalchemy.orm import Session

from search_space.contract import NO_ONNX, ONNX, RUN, SHAPES, WEIGHTS
from search_space.spec import to_data
from search_space.standalone.generate import standalone
from service.bundle.data import BundleData, collect
from service.bundle.figures import draw
from service.bundle.paper import methods, table
from service.bundle.references import bibtex
from service.bundle.report import report
from service.store import trials
from service.store.artifacts import ArtifactStore
from service.store.models import Search

MANIFEST = "manifest.json"
STANDALONE = "activations_standalone.py"

_STORED_FILES = (WEIGHTS, SHAPES, ONNX, RUN)
_VERSION = 1
# The earliest that a zip file can hold. One time for all: equal results give equal files.
_MODIFIED = (1980, 1, 1, 0, 0, 0)


def write(
    session: Session,
    search: Search,
    path: Path,
    *,
    store: ArtifactStore,
    unconfirmed: bool,
) -> None:
    """Write the bundle; the file appears when it is complete.

    Args:
        store: Where the files of the config's trial lie.

    Raises:
        NotReady: As `best_config.choose`.
    """
    data = collect(session, search, unconfirmed=unconfirmed)
    files, left_out = _files(data, _stored(session, store, data.trial))
    manifest = {
        "version": _VERSION,
        "search": data.id,
        "trial": data.trial,
        "verdict": data.best.status,
        "claim": data.best.claim,
        "files": {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
            for name, content in files.items()
        },
        "left_out": left_out,
    }
    partial = path.with_suffix(".partial")
    with ZipFile(partial, "w") as archive:
        for name, content in {MANIFEST: _json(manifest), **files}.items():
            info = ZipInfo(name, _MODIFIED)
            info.external_attr = 0o644 << 16
            archive.writestr(info, content, compress_type=ZIP_DEFLATED)
    partial.replace(path)


def _stored(session: Session, store: ArtifactStore, trial: str | None) -> dict[str, bytes]:
    """Return the stored files of a trial that a bundle contains or describes, by name."""
    rows = [] if trial is None else trials.artifacts(session, trial)
    return {row.name: store.read(row.sha256) for row in rows if row.name in _STORED_FILES}


def _files(
    data: BundleData, stored: Mapping[str, bytes]
) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return the contents by name, and for each file that is left out the reason."""
    files, left_out = {"activations.json": _json(to_data(data.config))}, {}
    for name in (WEIGHTS, ONNX):
        if name in stored:
            files[name] = stored[name]
        else:
            left_out[name] = _absence(data, name)
    try:
        files[STANDALONE] = standalone(data.config).encode()
    except ValueError as error:
        left_out[STANDALONE] = str(error)
    shapes, run = (json.loads(stored[n]) if n in stored else None for n in (SHAPES, RUN))
    figures = draw(data, shapes)
    files["report.html"] = report(data, figures, left_out, run).encode()
    files["search.yaml"] = yaml.safe_dump(dict(data.document), sort_keys=False).encode()
    files["paper/methods.tex"] = methods(data).encode()
    files["paper/table.tex"] = table(data).encode()
    files["paper/references.bib"] = bibtex(data.activations).encode()
    for name, figure in figures.items():
        files[f"paper/{name}.pdf"] = figure.pdf
        files[f"paper/{name}.csv"] = figure.csv
    return files, left_out


def _absence(data: BundleData, name: str) -> str:
    if data.trial is None:
        return "this is the original network's config; no trial stands behind it"
    if name == ONNX:
        reasons = [line for line in data.remarks if line.startswith(NO_ONNX)]
        default = "a worker writes it of a winner that is confirmed"
        return reasons[0].removeprefix(NO_ONNX) if reasons else default
    return "the trial stored none"


def _json(data: Any) -> bytes:
    return (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode()
