"""What a trial ran on."""

import json
from importlib import metadata

import torch

from search_space.contract import RUN
from tests.workers.conftest import EXAMPLE, Serve, candidate, fingerprint, network
from tests.workers.stub import Stub
from workers.handle.provenance import differences, environment
from workers.trial import trial


def test_a_trial_stores_what_it_ran_on_and_no_secret(stub: Stub, serve: Serve) -> None:
    given = stub.assignment({"name": "t"}, candidate(), fingerprint=fingerprint())
    serve(given)
    with trial() as t:
        model = t.apply(network(), EXAMPLE)
        optimizer = torch.optim.SGD(t.parameter_groups(model, lr=0.1))
        for epoch in t.epochs(1, model, optimizer):
            model(EXAMPLE).sum().backward()
            optimizer.step()
            t.report(epoch, validation_accuracy=0.5)
    stored = json.loads(stub.artifacts[RUN])
    assert given.token not in stub.artifacts[RUN].decode()
    assert stored["assignment"]["seed"] == given.seed
    assert stored["assignment"]["candidate"]["sites"]["1"]["name"] == "pwlu"
    assert stored["environment"]["packages"]["torch"] == metadata.version("torch")
    assert stored["environment"]["threads"] == torch.get_num_threads()


def test_environments_are_compared_field_by_field() -> None:
    now = environment("files 1")
    assert differences(now, environment("files 1")) == []
    then = now | {"threads": 64, "gpu": "H200", "code": "git 2"}
    assert differences(then, now) == [
        "code: git 2 then, files 1 now",
        f"gpu: H200 then, {now['gpu']} now",
        f"threads: 64 then, {now['threads']} now",
    ]
