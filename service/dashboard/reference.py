"""Shows the reference of the API at `/docs`: plain HTML, without scripts or other hosts."""

import json
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from service.dashboard.page import HEADERS
from service.templating import html_environment

_TEMPLATES = Path(__file__).parent / "templates"


def add_reference(app: FastAPI) -> None:
    """Serve the reference at `/docs`."""

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(render(app.openapi()), headers=HEADERS)


def render(document: dict[str, Any]) -> str:
    """Return the page that shows an OpenAPI document."""

    def body_of(content: dict[str, Any]) -> dict[str, Any]:
        return _body(content, document["components"]["schemas"])

    return (
        html_environment(_TEMPLATES)
        .get_template("reference.html.j2")
        .render(info=document["info"], paths=document["paths"], body_of=body_of, json=_json)
    )


def _body(content: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the examples of a body, its schema, and the name of that if it has one."""
    schema = content.get("schema", {})
    name = schema.get("$ref", "").rpartition("/")[2]
    if name:
        schema = schemas[name]
    examples = [one["value"] for one in content.get("examples", {}).values()]
    examples += [content["example"]] if "example" in content else schema.get("examples", [])
    return {"name": name, "schema": schema, "examples": examples}


def _json(data: Any) -> str:
    return json.dumps(data, indent=2)
