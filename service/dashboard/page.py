"""Serves the page and its files, all from this host."""

import gzip
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Header
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.types import Scope

STATIC = Path(__file__).parent / "static"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # The browser checks every file at each load: a new page must not run with old scripts.
    "Cache-Control": "no-cache",
}


IMMUTABLE = "public, max-age=31536000, immutable"


def add_page(app: FastAPI) -> None:
    """Serve the page at `/`, its files under `/static`."""
    plotly_at = f"/static/plotly-{version('plotly')}.min.js"
    page = (STATIC / "index.html").read_text(encoding="utf-8").replace("PLOTLY", plotly_at)

    @app.get("/", include_in_schema=False)
    def read_page() -> HTMLResponse:
        return HTMLResponse(page, headers=HEADERS)

    @app.get(plotly_at, include_in_schema=False)
    def read_plotly(accept_encoding: Annotated[str, Header()] = "") -> Response:
        headers = {**HEADERS, "Cache-Control": IMMUTABLE, "Vary": "Accept-Encoding"}
        if "gzip" not in accept_encoding:
            return FileResponse(_plotly_script(), media_type="text/javascript", headers=headers)
        headers["Content-Encoding"] = "gzip"
        return Response(_compressed_plotly(), media_type="text/javascript", headers=headers)

    app.mount("/static", GZipMiddleware(_Files(directory=STATIC)), name="static")


@lru_cache(maxsize=1)
def _compressed_plotly() -> bytes:
    """Return Plotly compressed, once for all requests: a third of its size."""
    return gzip.compress(_plotly_script().read_bytes(), compresslevel=6)


class _Files(StaticFiles):
    """The files of the page, with its headers."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


def _plotly_script() -> Path:
    # Without importing plotly, which would add a second to every start.
    spec = find_spec("plotly")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "package_data" / "plotly.min.js"
