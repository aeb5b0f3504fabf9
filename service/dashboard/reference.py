"""Shows the reference of the API at `/docs`: plain HTML, without scripts or other hosts."""

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from service.dashboard.page import HEADERS

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: API</title>
<link rel="stylesheet" href="/static/reference.css">
</head>
<body>
<h1>{title}: API</h1>
<p>{description}</p>
<p>For programs: <a href="/openapi.json">/openapi.json</a></p>
{calls}
</body>
</html>
"""


def add_reference(app: FastAPI) -> None:
    """Serve the reference at `/docs`."""

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(render(app.openapi()), headers=HEADERS)


def render(document: dict[str, Any]) -> str:
    """Return the page that shows an OpenAPI document."""
    info = document["info"]
    calls = "\n".join(
        _call(method, path, operation, document)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    return _PAGE.format(
        title=escape(info["title"]), description=escape(info["description"]), calls=calls
    )


def _call(method: str, path: str, operation: dict[str, Any], document: dict[str, Any]) -> str:
    parts = "\n".join(_parts(operation, document))
    summary = escape(operation["summary"])
    return (
        f"<details><summary><b>{method.upper()}</b> <code>{escape(path)}</code> {summary}"
        f"</summary>\n{parts}\n</details>"
    )


def _parts(operation: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    yield f"<p>{escape(operation.get('description', ''))}</p>"
    rows = [
        f"<tr><td><code>{escape(one['name'])}</code></td><td>{escape(one['in'])}</td>"
        f"<td>{escape(one.get('description', ''))}</td></tr>"
        for one in operation.get("parameters", ())
    ]
    if rows:
        yield f"<table>{''.join(rows)}</table>"
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<h2>Body: {escape(kind)}</h2>{_shown(content, document)}"
    for status, response in operation["responses"].items():
        yield f"<h2>{escape(status)}</h2><p>{escape(response.get('description', ''))}</p>"
        for content in response.get("content", {}).values():
            yield _shown(content, document)


def _shown(content: dict[str, Any], document: dict[str, Any]) -> str:
    """Show the examples of a body, and its schema by name or whole."""
    schema = content.get("schema", {})
    name = schema.get("$ref", "").rpartition("/")[2]
    if name:
        schema = document["components"]["schemas"][name]
    examples = [one["value"] for one in content.get("examples", {}).values()]
    examples += [content["example"]] if "example" in content else schema.get("examples", [])
    shown = "".join(f"<pre>{_json(example)}</pre>" for example in examples)
    title = escape(name or "schema")
    return f"{shown}<details><summary>{title}</summary><pre>{_json(schema)}</pre></details>"


def _json(data: Any) -> str:
    return escape(json.dumps(data, indent=2))
