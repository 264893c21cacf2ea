"""One look at a network, with a few examples of its data, before anything is trained.

What SGD, per-sample gradients and snapshots take for granted is tried out on copies: that the
network can be copied, runs on the images, gives logits, treats each example by itself, answers
twice in the same way, and is all there in its parameters and buffers. `training.suitability`
has what can be said without running it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from limitcycles.training import networks
from limitcycles.training.networks import NetworkError
from limitcycles.training.suitability import check_parts, copied

EXAMPLES = 8


class BatchCouplingError(NetworkError):
    """The loss of one example depends on the others of its batch."""


def look(
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    classes: int | None = None,
    batch_size: int | None = None,
) -> None:
    """Raise a NetworkError, one sentence with the remedy, unless the network can be worked with.

    Parameters
    ----------
    network: left as it is, and so are the generators of random numbers.
    inputs, labels: examples, (n, ...) and (n,) int64; eight of them are used, spread over all.
    classes: number of classes (None: the largest label and one).
    batch_size: also look at one step of training with as many examples, eight at most (None: not).

    Raises
    ------
    BatchCouplingError: an output or a gradient changes with the rest of the batch.
    NetworkError: the network cannot be copied, or has nothing to train, weights of other precision
        than the images or tied in other ways than by sharing a parameter; it fails, or gives other
        things than finite logits (batch, classes) with as many classes as labels; it writes into
        its input, is random in evaluation mode, or keeps a state outside parameters and buffers.
    """
    trained = None if batch_size is None else torch.float32  # as runs are stored
    check_parts(network, inputs.dtype if inputs.is_floating_point() else trained)
    chosen = spread(len(inputs), EXAMPLES)
    if not inputs.is_floating_point():  # the largest token is the one that an embedding may lack
        chosen[-1] = inputs.flatten(1).amax(1).argmax()
    x = _companions(inputs[chosen.to(inputs.device)])
    if x.is_floating_point() and not torch.isfinite(x).all():
        raise NetworkError("the images have pixels that are NaN or infinite: mend the dataset")
    classes = int(labels.max()) + 1 if classes is None else classes
    devices = [x.device] if x.device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.enable_grad():
        _evaluation(network, x, classes)
        if batch_size is not None:
            _training(network, x[:batch_size], classes)


def spread(count: int, size: int) -> Tensor:
    """`size` of `count` indices, evenly spread; all of them where there are fewer."""
    return torch.linspace(0, count - 1, min(count, size)).round().long()


def _companions(x: Tensor) -> Tensor:
    """Real examples only. One alone gets its own numbers in the other order, which for whole
    numbers might stand for something else there."""
    return torch.cat([x, x.flip(-1)]) if len(x) == 1 and x.is_floating_point() else x


def _evaluation(network: nn.Module, x: Tensor, classes: int) -> None:
    guilty = [
        name or "the network itself"
        for name, module in network.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None
    ]
    if guilty:  # such a layer may refuse a single example: do not run it
        raise coupling(f" (batch statistics in {', '.join(guilty)})")
    model = copied(network).eval()
    state = {name: t.detach().clone() for name, t in _state(model)}
    entered = x.clone()
    together = _logits(model, x, classes, "evaluation")
    if not torch.equal(entered, x):
        raise NetworkError(
            "the network changes its input in place, and with it the dataset: let its first "
            "operation be one that is not in place, or begin with x = x.clone()"
        )
    again = _logits(model, x, classes, "evaluation")
    changed = [name for name, t in _state(model) if not _same(t, state[name])]
    weights = dict(model.named_parameters())
    if any(name in weights for name in changed) or (changed and not _same(together, again)):
        raise NetworkError(
            f"the network changes {changed[0]} in evaluation mode, and with it what it gives next: "
            "let it do that only `if self.training`, or not at all"
        )
    if not torch.isfinite(together).all():
        layer = _first(model, [x], lambda e, left: not all(torch.isfinite(t).all() for t in left))
        raise NetworkError(
            f"the network's output is NaN or infinite, first in {layer}: look at how it is "
            "initialised and at the pixels of the dataset. If it is trained, it has diverged: "
            "lower training.learning_rate.start"
        )
    if not _same(together, again):
        raise NetworkError(
            f"the network's output is random in evaluation mode, at {_random_layer(model, x)}: "
            "switch that off there, as nn.Dropout and F.dropout(x, p, self.training) do"
        )
    # Other batch sizes take other kernels, whose rounding differs; coupling is far larger.
    alone = torch.cat([_logits(model, one[None], classes, "evaluation") for one in x])
    bound = torch.finfo(alone.dtype).eps ** 0.5 * (1 + float(alone.detach().abs().max()))
    if not torch.allclose(together, alone, rtol=0, atol=bound):
        raise coupling(f" ({_coupled_layer(model, x, bound)})")
    _gradients(network, model, x, together)


def _gradients(network: nn.Module, model: nn.Module, x: Tensor, together: Tensor) -> None:
    """Gradients of a random sum of logits: of the batch, and of its examples one by one."""
    if not together.requires_grad:
        raise NetworkError(
            "the network's output depends on no weight that has requires_grad: leave out "
            ".detach() and torch.no_grad(), or requires_grad_(False) of the layers it goes through"
        )
    originals = list(networks.trainable(network).values())
    guilty = _unequal(model, x, together, originals)
    if guilty is not None and together.dtype == torch.float32:
        # A unit at its kink may be on either side of it by rounding; less so in float64.
        try:
            doubled = copied(model).double()
            wide = x.double() if x.is_floating_point() else x
            guilty = _unequal(doubled, wide, doubled(wide), [])
        except RuntimeError:  # it computes in float32 whatever it is given
            pass
    if guilty is not None:
        raise coupling(
            f" (the gradient of {guilty} for a batch is not the sum of those of its examples, "
            "as with scale_grad_by_freq=True)"
        )


def _unequal(
    model: nn.Module, x: Tensor, together: Tensor, originals: list[nn.Parameter]
) -> str | None:
    """The first weight whose gradient for the batch is not the sum of those of its examples."""
    weights = networks.trainable(model)
    generator = torch.Generator().manual_seed(0)
    signs = torch.randn(together.shape, generator=generator).to(together)

    def gradient(logits: Tensor, part: slice) -> list[Tensor]:
        if not logits.requires_grad:
            return [torch.zeros_like(p) for p in weights.values()]
        every = [*weights.values(), *originals]
        try:
            found = torch.autograd.grad((logits * signs[part]).sum(), every, allow_unused=True)
        except Exception as error:  # it runs code of the user's network
            raise NetworkError(f"the backward pass of the network fails: {_said(error)}") from error
        if any(g is not None for g in found[len(weights) :]):
            raise NetworkError(
                "a copy of the network computes with the weights of the original: a function that "
                "it holds, such as a lambda, refers to the network; write a method instead"
            )
        zipped = zip(found, weights.items(), strict=False)
        return [_dense(name, g, p) for g, (name, p) in zipped]

    batch = gradient(together, slice(None))
    total = [torch.zeros_like(g) for g in batch]
    for i, one in enumerate(x):
        for sum_, g in zip(total, gradient(model(one[None]), slice(i, i + 1)), strict=True):
            sum_ += g
    norms = [float(torch.linalg.vector_norm(g)) for g in batch]
    for name, g, sum_, norm in zip(weights, batch, total, norms, strict=True):
        off = float(torch.linalg.vector_norm(g - sum_))
        if off > 1e-2 * norm and off > 1e-4 * max(norms):  # rounding is far less
            return name
    return None


def _dense(name: str, gradient: Tensor | None, weight: Tensor) -> Tensor:
    if gradient is None:
        return torch.zeros_like(weight)
    if gradient.is_sparse:
        raise NetworkError(f"the gradient of {name} is sparse: leave out sparse=True of its layer")
    if not torch.isfinite(gradient).all():
        raise NetworkError(
            f"the gradient of {name} is NaN or infinite where the output is finite: a root, a norm "
            "or a logarithm at 0 does that; keep its argument away from 0"
        )
    return gradient


def _training(network: nn.Module, x: Tensor, classes: int) -> None:
    model = copied(network).train()
    logits = _logits(model, x, classes, "training")
    moved = networks.trainable(network).keys() ^ networks.trainable(model).keys()
    if moved:
        raise NetworkError(
            f"the network changes requires_grad of {min(moved)} while it runs, and with it which "
            "numbers are its weights: set it in the builder"
        )
    try:
        logits.sum().backward()
    except Exception as error:  # it runs code of the user's network
        raise NetworkError(
            f"the backward pass of the network fails in training mode: {_said(error)}"
        ) from error
    weights, buffers = networks.flatten(model)
    restored = networks.restore(copied(network), weights.numpy(), buffers.numpy()).eval()
    if not _same(model.eval()(x), restored(x)):
        raise NetworkError(
            "the network keeps a state outside its parameters and real buffers that changes in "
            "training, which a snapshot would lose: keep it in real numbers with register_buffer"
        )


# ------------------------------------------------------------------------- forward passes


def _logits(model: nn.Module, x: Tensor, classes: int, mode: str) -> Tensor:
    """The output for `x`. Raises NetworkError: it is none, or no logits."""
    logits = _output(model, x, mode)
    if not isinstance(logits, Tensor):
        kind = "None" if logits is None else f"a {type(logits).__name__}"
        raise NetworkError(
            f"the network returns {kind} in {mode} mode: return the logits alone, a tensor of "
            "shape (batch, classes)"
        )
    if not logits.is_floating_point():
        raise NetworkError(
            f"the network returns {networks.short(logits.dtype)}: logits are real numbers, "
            "from before any argmax"
        )
    if logits.ndim != 2 or len(logits) != len(x):
        hint = ""
        if len(x) == 1 and logits.ndim < 2:
            hint = "; .squeeze() drops the dimension of a batch of one, too: use .flatten(1)"
        raise NetworkError(
            f"the network's output for {len(x)} example{'s' * (len(x) > 1)} has shape "
            f"{tuple(logits.shape)}; logits have (batch, classes){hint}"
        )
    if logits.shape[1] < classes:
        raise NetworkError(
            f"the network has {logits.shape[1]} outputs, but the labels of the dataset run up to "
            f"{classes - 1}: give its last layer {classes} outputs"
        )
    return logits


def _output(model: nn.Module, x: Tensor, mode: str):
    running: list[str] = []
    handles = []
    for path, module in model.named_modules():
        what = named(path, module)
        handles += [
            module.register_forward_pre_hook(lambda m, a, what=what: running.append(what)),
            module.register_forward_hook(lambda m, a, o: running.pop() and None),
        ]
    try:
        return model(x)
    except Exception as error:  # it runs code of the user's
        raise NetworkError(
            f"the network fails in {mode} mode, in {running[-1] if running else 'it'}, on "
            f"{networks.short(x.dtype)} inputs (batch, ...) of shape {tuple(x.shape)}: "
            f"{_said(error)}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()


def named(path: str, module: nn.Module) -> str:
    """As an error message names a layer."""
    kind = type(module).__name__
    return f"layer {path} ({kind})" if path else f"the network itself ({kind})"


def _said(error: Exception) -> str:
    """An exception on one line."""
    lines = " ".join(str(error).split())
    return f"{type(error).__name__}: {lines[:300]}"


def coupling(where: str = "") -> BatchCouplingError:
    """The error for a network whose examples are not independent."""
    return BatchCouplingError(
        f"the network couples the examples of a batch in evaluation mode{where}: the gradient of a "
        "single example does not exist. Use layers without batch statistics, or batch "
        "normalisation with track_running_stats=True."
    )


def _state(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.nan_to_num(), other.nan_to_num())


# ---------------------------------------------------------------------- the guilty layer


def _watched(model: nn.Module, x: Tensor) -> list[tuple[str, list[Tensor], list[Tensor]]]:
    """Each call of a layer: its name, the tensors that entered and those that left, as they ended.

    A layer comes before those that it is a part of.
    """
    calls, handles = [], []

    def watch(module, arguments, output):
        entered, left = ([t.detach().clone() for t in _tensors(v)] for v in (arguments, output))
        calls.append((names[module], entered, left))

    names = {module: named(path, module) for path, module in model.named_modules()}
    handles = [module.register_forward_hook(watch) for module in names]
    try:
        model(x)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _tensors(value) -> list[Tensor]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [tensor for part in value for tensor in _tensors(part)]
    return [value] if isinstance(value, Tensor) else []


def _first(model: nn.Module, inputs: list[Tensor], guilty) -> str:
    """The first layer for which guilty(*entered and left of each of `inputs`) holds."""
    runs = [_watched(model, x) for x in inputs]
    for calls in zip(*runs, strict=False):
        if len({name for name, _, _ in calls}) > 1:  # from here on they go different ways
            break
        if guilty(*(part for _, entered, left in calls for part in (entered, left))):
            return calls[0][0]
    return "the network itself"


def _random_layer(model: nn.Module, x: Tensor) -> str:
    def guilty(entered, left, entered_again, left_again):
        agree = all(map(_same, entered, entered_again))
        return agree and not all(map(_same, left, left_again))

    return _first(model, [x, x], guilty)


def _coupled_layer(model: nn.Module, x: Tensor, bound: float) -> str:
    def agree(many: list[Tensor], one: list[Tensor]) -> bool | None:
        if [(len(x), *s.shape[1:]) for s in one] != [tuple(t.shape) for t in many]:
            return None  # the examples are not along the first dimension
        pairs = zip(many, one, strict=True)
        return all(torch.allclose(t[:1].double(), s.double(), rtol=0, atol=bound) for t, s in pairs)

    def guilty(entered, left, entered_alone, left_alone):
        return agree(entered, entered_alone) is True and agree(left, left_alone) is False

    return _first(model, [x, x[:1]], guilty)
