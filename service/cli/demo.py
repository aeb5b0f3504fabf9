"""The demo: a whole search on real images, run as a user would, by the command and over HTTP.

Started by `make demo`. It writes to one folder only.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from service.cli.common import FAILED, console, page_of, print_error, print_line
from service.cli.results import CONFIG, PLOT, print_ranking, save, saved_lines
from service.client.client import Client, ClientError
from service.client.progress import watch
from service.schemas.states import SearchState

_HOME, _LOG, _SEARCH = "home", "up.log", "search.json"
_END_SECONDS = 30
_LAST_LINES = 15

_DEMO: dict[str, Any] = {
    "task": {
        "name": "image-classification",
        "network": "small-cnn",
        "epochs": 5,
        "batch_size": 64,
    },
    "choices": [
        "relu",
        "silu",
        {"name": "pwlu", "segments": [8, 16]},
        "acon_c",
        "meta_acon",
    ],
    "baselines": {"original_seeds": 3, "uniform": True},
    "budget": {"trials": 11},
    "pruner": {"name": "asha"},
    "sampler": {"name": "tpe", "seed": 0},
    "parallel": 2,
    "confirm": None,
}


class _DemoFailed(Exception):
    """The demo cannot go on; the text says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m service.cli.demo", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("demo-output"))
    output: Path = parser.parse_args(arguments).output
    try:
        _clean(output)
        document = _document()
        (output / _SEARCH).write_text(json.dumps(document, indent=2) + "\n")
        with _service_and_worker(output) as url, Client(url) as client:
            return _run_search(client, document, output)
    except (_DemoFailed, ClientError) as error:
        print_error(f"demo: {error}")
        return FAILED
    except KeyboardInterrupt:
        print_error("demo: interrupted; everything that it started has ended")
        return FAILED


def _clean(output: Path) -> None:
    """Remove the files of an earlier demo, and no others."""
    output.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(output / _HOME, ignore_errors=True)
    for name in (_LOG, _SEARCH, CONFIG, PLOT, "weights.safetensors"):
        (output / name).unlink(missing_ok=True)


def _document() -> dict[str, Any]:
    """Return the demo's search: on Fashion-MNIST if it is in the data root, else on the digits."""
    root = Path(os.environ.get("ACTSEARCH_DATA_ROOT") or "data")
    if any((root / "FashionMNIST" / "raw").glob("train-images-idx3-ubyte*")):
        task, name = {"dataset": "fashion-mnist", "train_samples": 2000}, "demo-fashion-mnist"
    else:
        task, name = {"dataset": "digits"}, "demo-digits"
    return {"name": name, **_DEMO, "task": {**_DEMO["task"], **task}}


@contextmanager
def _service_and_worker(output: Path) -> Iterator[str]:
    """Run `actsearch up` on a free port, and yield its URL."""
    command = [sys.executable, "-P", "-m", "service.cli", "up", "--json", "--exit-with-stdin"]
    options = ["--port", "0", "--home", str(output / _HOME), "--slots", "2"]
    # Settings that a user has made for another service must not change this one.
    names = ("HOST", "PORT", "HOME", "DATABASE_URL", "ADMIN_TOKEN_FILE", "TOKEN", "URL", "TASKS")
    unset = {f"ACTSEARCH_{name}" for name in names}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    with (output / _LOG).open("w") as log:
        process = subprocess.Popen(
            command + options,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield _url(process.stdout, output / _LOG)
        finally:
            # It stops when its standard input ends, which also happens if the demo is killed.
            process.stdin.close()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def _url(announced: IO[str], log: Path) -> str:
    line = announced.readline()
    if not line:
        raise _DemoFailed(f"the service did not start; the end of its log:\n{_tail(log)}")
    return str(json.loads(line)["url"])


def _run_search(client: Client, document: dict[str, Any], output: Path) -> int:
    task = document["task"]
    size = f"{task['train_samples']} images of" if "train_samples" in task else "the"
    print_line(f"The service is at {client.url}; its log is {output / _LOG}.")
    print_line(f"Searching the activations of {task['network']} on {size} {task['dataset']} ...")
    search = client.submit(document)
    print_line(f"Watch it in a browser: {page_of(client, search.id)}\n")
    search = watch(client.updates(search.id), console())
    if search.state != SearchState.COMPLETED:
        raise _DemoFailed(
            f"the search is {search.state.value}: {search.reason}\n{_tail(output / _LOG)}"
        )
    found = client.best(search.id)
    print_line("")
    print_ranking(search, found)
    print_line("")
    saved = save(client, search, output, unconfirmed=True)
    for line in saved_lines(saved, found, unconfirmed=True):
        print_line(line)
    print_line(f"The search is {output / _SEARCH}: edit it, and submit it to `actsearch up`.")
    return 0


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LAST_LINES:])


if __name__ == "__main__":
    sys.exit(main())
