"""Settings that are right each by itself, but not together.

Each check takes a configuration with its defaults filled in, which may be wrong in other ways, and
names the key that a refused value comes from: of a run or trajectory, or of all of them.
"""

from collections.abc import Mapping
from typing import Any

from limitcycles.configuration.sizes import most_images
from limitcycles.configuration.validation import Problem, show
from limitcycles.storage.files import StorageError, user_path

TRAJECTORIES_ONLY = ("full-batch", "gaussian")  # values of training.sampler without mini-batches


def unknown_folder(config: Mapping[str, Any]) -> list[Problem]:
    """A data folder that names a variable or a user that is not there."""
    folder = config.get("data_folder")
    try:
        if isinstance(folder, str):
            user_path(folder, "data_folder")
    except StorageError as error:
        return [Problem(("data_folder",), str(error).removeprefix("data_folder: "))]
    return []


def misplaced(config: Mapping[str, Any]) -> list[Problem]:
    """Settings of `training` that only the other kind can have, by the key that they come from."""
    cases = (
        (
            "runs",
            "sampler",
            lambda value: value in TRAJECTORIES_ONLY,
            "is for trajectories only, and {} is a run; take a sampler with mini-batches, such as "
            "without-replacement, or put the entry under trajectories",
        ),
        (
            "trajectories",
            "augmentation",
            lambda value: isinstance(value, Mapping),
            "is for runs only, and {} is a trajectory; write null here, and augmentation under the "
            "training of each run that shall have it",
        ),
    )
    found: dict[tuple, Problem] = {}
    for group, key, refused, text in cases:
        entries = config.get(group)
        for name in entries if isinstance(entries, dict) else ():
            path, value = origin(config, group, name, "training", key)
            if refused(value):
                problem = Problem(path, f"{show(value)} {text.format(name)}")
                found.setdefault(path, problem)
    return list(found.values())


def augmented(config: Mapping[str, Any]) -> list[Problem]:
    """Runs whose gradients are asked for over augmentations that they are not trained with."""
    found: dict[tuple, Problem] = {}
    runs = config.get("runs")
    for run in runs if isinstance(runs, dict) else ():
        path, numbers = origin(config, "runs", run, "gradients", "augmentations")
        if numbers is not None:
            _, trained = origin(config, "runs", run, "training", "augmentation")
            if trained is None:
                text = f"{show(numbers)} is for runs with training.augmentation, and {run} has none"
                problem = Problem(path, f"{text}; write null, or give it one")
                found.setdefault(path, problem)
    return list(found.values())


def too_many_images(config: Mapping[str, Any]) -> list[Problem]:
    """Runs whose gradients are asked for over more images than their dataset has."""
    found: dict[tuple, Problem] = {}
    runs = config.get("runs")
    for run in runs if isinstance(runs, dict) else ():
        path, images = origin(config, "runs", run, "gradients", "images")
        if not isinstance(images, int):
            continue
        try:
            most = most_images(config["datasets"][config["runs"][run]["dataset"]])
        except (AttributeError, KeyError, TypeError):  # wrong in another way, which is told apart
            continue
        if images > most:
            text = f"{show(images)} is more than the {most:,} training images of {run}; write null"
            found.setdefault(path, Problem(path, f"{text}, or fewer"))
    return list(found.values())


def origin(
    config: Mapping[str, Any], group: str, name: str, section: str, key: str
) -> tuple[tuple[str, ...], Any]:
    """Where an entry has a value from, its own section or the section of all, and the value."""
    for path, tree in (((group, name, section), config[group][name]), ((section,), config)):
        values = tree.get(section) if isinstance(tree, dict) else None
        if isinstance(values, dict) and key in values:
            return (*path, key), values[key]
    return (section, key), None
