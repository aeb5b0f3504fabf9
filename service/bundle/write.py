"""Writes a bundle: one zip file with all that a user needs of a search's best."""

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
from service.bundle.figures import draw
from service.bundle.material import Material, gather
from service.bundle.paper import methods, table
from service.bundle.references import bibtex
from service.bundle.report import report
from service.store import trials
from service.store.artifacts import ArtifactStore
from service.store.models import Search

MANIFEST = "manifest.json"
STANDALONE = "activations_standalone.py"

_TAKEN = (WEIGHTS, SHAPES, ONNX, RUN)
_VERSION = 1
# Zip files know no time before; with one time for all, equal contents are equal files.
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


def write(
    session: Session,
    search: Search,
    path: Path,
    *,
    store: ArtifactStore,
    unconfirmed: bool,
) -> None:
    """Write the bundle; the file appears when it is whole.

    Args:
        store: Where the files of the config's trial lie.

    Raises:
        NotReady: As `configs.choose`.
    """
    material = gather(session, search, unconfirmed=unconfirmed)
    files, left_out = _files(material, _stored(session, store, material.trial))
    manifest = {
        "version": _VERSION,
        "search": material.id,
        "trial": material.trial,
        "verdict": material.best.status,
        "claim": material.best.claim,
        "files": {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
            for name, content in files.items()
        },
        "left_out": left_out,
    }
    partial = path.with_suffix(".partial")
    with ZipFile(partial, "w") as archive:
        for name, content in {MANIFEST: _json(manifest), **files}.items():
            info = ZipInfo(name, _LONG_AGO)
            info.external_attr = 0o644 << 16
            archive.writestr(info, content, compress_type=ZIP_DEFLATED)
    partial.replace(path)


def _stored(session: Session, store: ArtifactStore, trial: str | None) -> dict[str, bytes]:
    """Return the contents of the trial's files that a bundle has or tells of, by name."""
    rows = [] if trial is None else trials.artifacts(session, trial)
    return {row.name: store.read(row.sha256) for row in rows if row.name in _TAKEN}


def _files(
    material: Material, stored: Mapping[str, bytes]
) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return the contents by name, and why what is missing is."""
    files, left_out = {"activations.json": _json(to_data(material.config))}, {}
    for name in (WEIGHTS, ONNX):
        if name in stored:
            files[name] = stored[name]
        else:
            left_out[name] = _absence(material, name)
    try:
        files[STANDALONE] = standalone(material.config).encode()
    except ValueError as error:
        left_out[STANDALONE] = str(error)
    shapes, run = (json.loads(stored[n]) if n in stored else None for n in (SHAPES, RUN))
    drawings = draw(material, shapes)
    files["report.html"] = report(material, drawings, left_out, run).encode()
    files["search.yaml"] = yaml.safe_dump(dict(material.document), sort_keys=False).encode()
    files["paper/methods.tex"] = methods(material).encode()
    files["paper/table.tex"] = table(material).encode()
    files["paper/references.bib"] = bibtex(material.activations).encode()
    for name, drawing in drawings.items():
        files[f"paper/{name}.pdf"] = drawing.pdf
        files[f"paper/{name}.csv"] = drawing.csv
    return files, left_out


def _absence(material: Material, name: str) -> str:
    if material.trial is None:
        return "this is the original network's config; no trial stands behind it"
    if name == ONNX:
        said = [line for line in material.remarks if line.startswith(NO_ONNX)]
        usual = "a worker writes it of a winner that is confirmed"
        return said[0].removeprefix(NO_ONNX) if said else usual
    return "the trial stored none"


def _json(data: Any) -> bytes:
    return (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode()
