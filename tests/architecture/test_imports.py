"""Which room may know which."""

import pkgutil
import subprocess
import sys

import pytest

import service


def loaded(code: str, *names: str) -> list[str]:
    """Run `code` in a fresh process and return which of the modules `names` it loaded."""
    show = f"import sys; print(*[n for n in {names!r} if n in sys.modules])"
    command = [sys.executable, "-W", "error", "-c", f"{code}\n{show}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_no_module_of_the_service_loads_torch() -> None:
    names = [module.name for module in pkgutil.walk_packages(service.__path__, "service.")]
    modules = [name for name in names if "migrations" not in name and "__main__" not in name]
    free = ["spec", "search", "contract", "catalog", "space", "errors"]
    modules += [f"search_space.{name}" for name in free]
    assert loaded(f"import {', '.join(modules)}", "torch") == []


def test_a_running_service_never_loads_torch(tmp_path: object) -> None:
    code = f"""
import asyncio, pathlib
from service.api.app import create_app
from service.settings import Settings
app = create_app(Settings(home=pathlib.Path({str(tmp_path)!r})))
async def run():
    async with app.router.lifespan_context(app):
        pass
asyncio.run(run())"""
    assert loaded(code, "torch", "matplotlib", "plotly", "scipy", "jinja2") == []


@pytest.mark.parametrize(
    "module",
    [
        "search_space.activations.pwlu",
        "search_space.build",
        "search_space.sites",
        "search_space.apply",
        "workers.training.loop",
    ],
)
def test_what_a_bare_gpu_machine_runs_needs_torch_and_numpy_alone(module: str) -> None:
    # Not triton: where it is installed, torch loads it by itself.
    others = ("pydantic", "optuna", "httpx2", "fastapi", "sqlalchemy", "numba", "sklearn")
    assert loaded(f"import {module}", *others) == []


def test_using_the_public_face_outside_a_worker_needs_torch_alone() -> None:
    code = "import actsearch, torch\nwith actsearch.trial() as t: t.apply(torch.nn.ReLU(), None)"
    assert loaded(code, "pydantic", "optuna", "httpx2", "fastapi", "sqlalchemy") == []


# What the commands and the client need none of; each takes a part of a second or more to load.
HEAVY = (
    *("fastapi", "starlette", "uvicorn", "optuna", "sqlalchemy", "alembic", "pydantic_settings"),
    *("plotly", "matplotlib", "torch", "numpy", "scipy", "structlog"),
)


def test_no_help_text_loads_what_only_a_running_service_needs() -> None:
    code = """
import contextlib, io, os
import typer
from service.cli.main import main, make_app

def exec_nothing(path, arguments):
    raise SystemExit(0)

def show_help(*command):
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
        main([*command, "--help"])
    return text.getvalue()

os.execv = exec_nothing  # Commands that another module answers start it in place of this process.
assert "Usage: actsearch " in show_help()
app = typer.main.get_command(make_app())
assert len(app.commands) > 20
for name, command in app.commands.items():
    text = show_help(name)
    assert command.context_settings or f"Usage: actsearch {name}" in text, name
"""
    assert loaded(code, *HEAVY) == []


def test_the_client_loads_what_only_a_running_service_needs_neither() -> None:
    assert loaded("import actsearch; actsearch.Client", "rich", *HEAVY) == []
