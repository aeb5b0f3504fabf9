"""Export of a trained network as ONNX, to run it without torch."""

import copy
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.utils._pytree import tree_leaves, tree_map_only

from search_space.fold import fold
from search_space.kernels.modules import without_kernels
from search_space.sites import arguments
from workers.errors import NotExportable

_NEEDED = ("onnx", "onnxruntime", "onnxscript")


def export(model: nn.Module, example_batch: Any) -> bytes:
    """Return `model` in evaluation as one ONNX file, with folded activations; it is not changed.

    The first dimension of every input is dynamic if the network allows that. The output of
    onnxruntime on the example batch is compared with that of torch first.

    Raises:
        NotExportable: If the export or the comparison fails, for whatever reason.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise NotExportable(f"this worker lacks {', '.join(missing)}; the extra onnx has them")
    try:
        return _export(model, example_batch)
    except NotExportable:
        raise
    except Exception as error:
        # torch, the exporter and the runtime raise errors without a common base, and none of them
        # may fail the trial, whose training was successful.
        reason = (str(error).strip() or "no reason was given").splitlines()[0]
        raise NotExportable(f"{type(error).__name__}: {reason}") from error


def _export(model: nn.Module, example_batch: Any) -> bytes:
    twin = without_kernels(copy.deepcopy(model).cpu())
    example_batch = tree_map_only(Tensor, Tensor.cpu, example_batch)
    fold(twin, example_batch)
    args, kwargs = arguments(example_batch)
    with torch.no_grad():
        expected = _tensors(twin(*args, **kwargs))
    with TemporaryDirectory(prefix="actsearch-") as folder, warnings.catch_warnings():
        path = Path(folder) / "model.onnx"
        # The exporter warns about its own internals.
        warnings.simplefilter("ignore")
        args, kwargs = arguments(example_batch)
        torch.onnx.export(
            twin,
            args,
            path,
            kwargs=kwargs,
            dynamo=True,
            dynamic_shapes=_open_batch(args, kwargs),
            external_data=False,
            verbose=False,
        )
        _check(path, _tensors(arguments(example_batch)), expected)
        return path.read_bytes()


def _open_batch(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return the dynamic dimensions of the inputs, as a tree of their structure."""

    def first(x: Tensor) -> dict[int, Any] | None:
        return {0: Dim.AUTO} if x.dim() else None

    return tree_map_only(Tensor, first, dict(kwargs) if kwargs else args)


def _check(path: Path, inputs: list[Tensor], expected: list[Tensor]) -> None:
    """Raise `NotExportable` unless onnxruntime computes what torch does."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        path, sess_options=options, providers=["CPUExecutionProvider"]
    )
    names = [one.name for one in session.get_inputs()]
    given = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
    found = [torch.from_numpy(output) for output in session.run(None, given)]
    for theirs, ours in zip(found, expected, strict=True):
        allowed = 1e-3 if ours.is_floating_point() else 0
        wide = ours.double()
        difference = float((theirs.double() - wide).abs().max() / wide.abs().max().clamp_min(1e-12))
        if not difference <= allowed:
            raise NotExportable(
                f"onnxruntime's output is off by {difference:.3g} of its largest number, "
                f"more than {allowed:.3g}"
            )


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf.detach() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
