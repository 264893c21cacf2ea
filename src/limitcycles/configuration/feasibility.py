"""Whether what a valid configuration asks for can be made: looked at before anything runs.

No code of the user is run, and nothing large is imported; what only a run can tell is told there.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from limitcycles.configuration import signatures, sizes
from limitcycles.configuration.crosschecks import origin
from limitcycles.configuration.plugins import is_dotted
from limitcycles.configuration.validation import Problem, show, suggestion


def infeasible(config: Mapping[str, Any]) -> list[Problem]:
    """All of a checked configuration that cannot be made, each by its key."""
    # The options of a network are looked at only where its builder takes them.
    found = list(_code(config)) or [
        *_datasets(config),
        *_snapshots(config),
        *_networks(config),
    ]
    return list({problem.path: problem for problem in found}.values())


def _code(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Functions of the user that are not there or take no such options; options of our own."""
    for group, key in (("datasets", "source"), ("networks", "builder")):
        for name, entry in config[group].items():
            dotted = signatures.BUILDERS.get(entry[key], entry[key])
            if not is_dotted(dotted):
                if entry["options"]:
                    text = f"{show(entry['options'])}: {show(dotted)} takes no options; delete them"
                    yield Problem((group, name, "options"), text)
                continue
            reason = signatures.why_not(dotted)
            if reason is not None:
                yield Problem((group, name, key), f"{show(dotted)}: {reason}")
                continue
            yield from _options(dotted, entry["options"], (group, name, "options"))
    yield from _optimisers(config)


def _options(dotted: str, options: Mapping[str, Any], where: tuple[str, ...]) -> Iterator[Problem]:
    for option, text in signatures.wrong_options(dotted, options):
        shown = options if option is None else options[option]
        yield Problem((*where, *([] if option is None else [option])), f"{show(shown)}: {text}")


def _optimisers(config: Mapping[str, Any]) -> Iterator[Problem]:
    known = signatures.optimiser_kinds()
    for name, entry in config["optimisers"].items():
        kind, where = entry["kind"], ("optimisers", name)
        dotted = signatures.optimiser_path(kind)
        if "weight_decay" in entry["options"]:
            text = f"{show(entry['options']['weight_decay'])}: write it as training.weight_decay"
            yield Problem((*where, "options", "weight_decay"), text)
        elif not is_dotted(kind) and kind not in known:
            text = f"{show(kind)} is not allowed; {suggestion(kind, known)}"
            yield Problem((*where, "kind"), f'{text}; or write "package.module:Class"')
        elif (reason := signatures.why_not(dotted)) is not None:
            yield Problem((*where, "kind"), f"{show(dotted)}: {reason}")
        else:
            yield from _options(dotted, entry["options"], (*where, "options"))
    for group in ("runs", "trajectories"):
        for name in config[group]:
            path, decay = origin(config, group, name, "training", "weight_decay")
            optimiser = origin(config, group, name, "training", "optimiser")[1]
            dotted = signatures.optimiser_path(config["optimisers"][optimiser]["kind"])
            options = {"weight_decay": decay} if decay else {}
            for option, text in signatures.wrong_options(dotted, options):
                if option == "weight_decay":
                    yield Problem(path, f"{show(decay)}: {text}")


def _datasets(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Images, labels and pixels that a published dataset does not have."""
    for name, entry in config["datasets"].items():
        known, where = sizes.KNOWN.get(entry["source"]), ("datasets", name)
        if known is None:
            continue
        resize, images = entry["resize"], entry["train_images"]
        beyond = [label for label in entry["classes"] or () if label >= known.classes]
        if beyond:
            text = f"{show(beyond)}: {entry['source']} has the labels 0 to {known.classes - 1}"
            yield Problem((*where, "classes"), f"{text}; delete what is beyond")
        if images is not None and images > known.images:
            text = f"{images} is more than the {known.images:,} of {entry['source']}; write null"
            yield Problem((*where, "train_images"), f"{text} for all")
        if resize and resize["method"] == "block-mean" and known.side % resize["size"]:
            text = (
                f"{resize['size']} does not divide the {known.side} pixels of {entry['source']}; "
                "take a size that does, or the method bilinear"
            )
            yield Problem((*where, "resize", "size"), text)


def _snapshots(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Snapshots of a run that would be of the same epoch."""
    for run, entry in config["runs"].items():
        if entry["seeds"] == []:
            continue
        path, percents = origin(config, "runs", run, "training", "snapshots")
        _, epochs = origin(config, "runs", run, "training", "epochs")
        if _distinct(percents, epochs):
            continue
        enough = next(n for n in range(epochs, 1000) if _distinct(percents, n))
        text = (
            f"{percents} % of the {epochs} epochs of {run} are not distinct epochs; train at least "
            f"{enough} epochs, or take fewer snapshots"
        )
        yield Problem(path, text)


def _distinct(percents: list[int], epochs: int) -> bool:
    return len({round(percent * epochs / 100) for percent in percents}) == len(percents)


def _networks(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Networks of our own on images of another shape, or with too few outputs, where run."""
    for group in ("runs", "trajectories"):
        for name, entry in config[group].items():
            if entry["seeds"] == []:
                continue
            network = config["networks"][entry["network"]]
            dataset = config["datasets"][entry["dataset"]]
            shape, labels = sizes.shape(dataset), sizes.labels(dataset)
            if shape is None or network["builder"] not in signatures.BUILDERS:
                continue
            wanted = _takes(network, shape)
            if wanted is not None:
                text = (
                    f"{show(entry['network'])} takes images of {wanted}, those of "
                    f"{show(entry['dataset'])} have (channels, height, width) {shape}; take "
                    "another network or dataset, or change their options"
                )
                yield Problem((group, name, "network"), text)
            outputs = network["options"].get("classes", 10)
            if outputs < labels:
                text = (
                    f"{show(entry['network'])} has {outputs} outputs, the labels of "
                    f"{show(entry['dataset'])} run to {labels - 1}; write options: "
                    f"{{classes: {labels}}} in the network, or take fewer classes"
                )
                yield Problem((group, name, "network"), text)


def _takes(network: Mapping[str, Any], shape: tuple[int, int, int]) -> str | None:
    """What images a network of our own takes, in words, if not those of this shape."""
    options = network["options"]
    if network["builder"] == "small-lenet":
        return None if shape == (1, 28, 28) else "(1, 28, 28)"
    if network["builder"] == "fc":
        inputs = options["inputs"]
        return None if math.prod(shape) == inputs else f"{inputs} numbers"
    channels = options.get("channels", 3)
    return None if shape[0] == channels else f"{channels} channels"
