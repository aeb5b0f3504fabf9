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
    free = ["spec", "search", "contract", "catalog", "sample", "errors"]
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
