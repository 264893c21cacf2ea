"""The configuration: layers of YAML, checked against the schema, and what they mean for a run.

Layers, each laid over the one before: `config/config.yaml`, the overlay of the scale, files given
with `--configfile`, and values given with `--config`. A mapping is merged key by key; everything
else is replaced. `scales` says which runs and trajectories they make, and which of them run.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limitcycles.configuration import crosschecks, plugins, yamlscalars
from limitcycles.configuration.crosschecks import (
    TRAJECTORIES_ONLY,
    augmented,
    misplaced,
    too_many_images,
    unknown_folder,
)
from limitcycles.configuration.feasibility import infeasible
from limitcycles.configuration.merging import merge, plain
from limitcycles.configuration.scales import lay
from limitcycles.configuration.signatures import optimiser_path
from limitcycles.configuration.validation import (
    KeyPath,
    Problem,
    Source,
    dotted,
    fail_on,
    fill,
    nearest,
    origin,
    problems,
    show,
    suggestion,
)
from limitcycles.configuration.yamlfile import ConfigError, read_yaml
from limitcycles.storage import sources

__all__ = [
    "TRAJECTORIES_ONLY",
    "ConfigError",
    "canonical",
    "check",
    "command_line_values",
    "digest",
    "identity",
    "layers",
    "load",
    "merge",
    "nearest",
    "read_yaml",
    "recipe",
    "resolve_run",
    "resolve_trajectory",
]

LARGEST = 2**63 - 1  # of whole numbers
COMMAND_LINE = "command line (--config)"
MODULE = "config of the module"
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


def load(
    base: Path,
    scales: Path,
    schema: Path,
    *,
    own: Path | None = None,
    extra: Sequence[Path] = (),
    command_line: Mapping[str, Any] | None = None,
    module: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Read, merge and check the whole configuration; every key has a value afterwards.

    Parameters
    ----------
    base, scales, schema
        `config/config.yaml`, the folder `config/scales` and the schema.
    own
        A `config/config.yaml` of the user, laid over `base`.
    extra
        Files given with `--configfile`, in order.
    command_line
        What Snakemake made of `--config`; see `command_line_values`.
    module
        The `config` that another workflow gives to this one, of which it is a part.

    Raises
    ------
    ConfigError
        One line for each thing that is wrong, naming file, key, value and remedy.
    """
    rules = read_yaml(schema)
    given = {"own": own, "extra": extra, "command_line": command_line, "module": module}
    sources = layers(base, scales, rules, **given)
    return check(sources, rules)


def layers(
    base: Path,
    scales: Path,
    schema: Mapping[str, Any],
    *,
    own: Path | None = None,
    extra: Sequence[Path] = (),
    command_line: Mapping[str, Any] | None = None,
    module: Mapping[str, Any] | None = None,
) -> list[Source]:
    """The layers of a configuration, first to last, each as (name for a person, content).

    The scale is read from all layers but the overlay, whose choice it is. Raises `ConfigError`
    for a file that cannot be read, a scale without an overlay, or an overlay that sets `scale`.
    """
    first = [(str(path), read_yaml(path)) for path in (base, own) if path is not None]
    later = [(str(path), read_yaml(path)) for path in extra]
    for name, values in ((COMMAND_LINE, command_line), (MODULE, module)):
        if values:
            later.append((name, command_line_values(values, name)))
    chosen = merge(tree for _, tree in [*first, *later])
    scale = chosen.get("scale", schema["properties"]["scale"]["default"])
    overlays = {path.stem: path for path in sorted(Path(scales).glob("*.yaml"))}
    if not isinstance(scale, str) or scale not in overlays:
        problem = Problem(
            ("scale",), f"{show(scale)} has no file in {scales}; {suggestion(scale, overlays)}"
        )
        fail_on([problem], [*first, *later])
    overlay = (str(overlays[scale]), read_yaml(overlays[scale]))
    if "scale" in overlay[1]:
        fail_on([Problem(("scale",), "an overlay cannot choose the scale; delete it")], [overlay])
    return [*first, overlay, *later]


def command_line_values(config: Mapping[str, Any], name: str = COMMAND_LINE) -> dict[str, Any]:
    """Turn the texts inside `--config` values into what they say.

    Snakemake reads `--config 'seeds=[0, 1]'` as a list of *texts*, `["0", "1"]`, and
    `data_folder=null` as the text `null`. Here they become what they are in a file: numbers,
    true/false and null; 1e-4 is a number too, as Snakemake has it where it stands by itself. What
    must stay text though it looks otherwise belongs into a file for `--configfile`, in quotes.

    Raises `ConfigError`, with one line for each other value that YAML 1.1 and YAML 1.2 read
    differently; `name` is what it calls the source.
    """
    found: list[str] = []
    values = _value(config, (), found)
    if found:
        raise ConfigError("\n".join(f"{name}: {line}" for line in found))
    return values


def check(sources: Sequence[Source], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Merge and check the layers of a configuration; all defaults are filled in afterwards.

    Parameters
    ----------
    sources
        The layers; see `layers`. What `scales` says of the first one and of those above it holds
        here. An error names the last one that contains the key.
    schema
        The content of `workflow/schemas/config.schema.yaml`.

    Raises
    ------
    ConfigError
        With **all** errors, one line each.
    """
    tree = merge(tree for _, tree in sources)
    _refuse_other_keys(tree, sources)
    fail_on(_too_large(tree), sources)
    laid = lay(sources, schema)
    filled = fill(laid.tree, schema)
    checks = (_references, misplaced, augmented, too_many_images, unknown_folder)
    across = [problem for check in checks for problem in check(filled)]
    found = [*laid.problems, *problems(laid.tree, schema), *across]
    fail_on(laid.as_written(found), sources)
    fail_on(laid.as_written(infeasible(filled)), sources)
    return filled


def resolve_run(config: Mapping[str, Any], run: str) -> dict[str, Any]:
    """All that a checked configuration says about one run, in one dict.

    Keys: `run` (its name), `network` and `dataset` (their entries), `network_name` and
    `dataset_name`, `training` and `gradients` (the run's own values laid over the defaults),
    `seeds`, and `departure` (text or None, a note for the report that changes no number).

    Raises `ConfigError` where there is no such run.
    """
    resolved, own = _resolve(config, "runs", run)
    return canonical(resolved | {"gradients": merge([config["gradients"], own["gradients"]])})


def resolve_trajectory(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The same of one long trajectory; `gradient_every` and `windows` in place of `gradients`.

    `training` has neither `snapshots` nor `checkpoint_seconds`: it keeps every epoch. It has no
    `augmentation` either: `check` refuses it.
    """
    resolved, own = _resolve(config, "trajectories", name)
    for unused in ("snapshots", "checkpoint_seconds", "augmentation"):
        resolved["training"].pop(unused, None)
    return canonical(resolved | {key: own[key] for key in ("gradient_every", "windows")})


def recipe(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """What a run or a trajectory is made with: without seeds, notes and what is computed later.

    So that another seed, or another note, makes nothing anew.
    """
    left_out = ("seeds", "departure", "gradients")
    return {key: value for key, value in resolved.items() if key not in left_out}


def content(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the images of an entry of `datasets`: `optional` does not."""
    return {key: value for key, value in dataset.items() if key != "optional"}


def _resolve(config: Mapping[str, Any], group: str, name: str) -> tuple[dict, Mapping]:
    """What runs and trajectories share, and the own entry of one."""
    if name not in config[group]:
        raise ConfigError(
            f"{group}.{name}: there is no such entry; {suggestion(name, config[group])}"
        )
    own = config[group][name]
    training = merge([config["training"], own["training"]])
    training["optimiser"] = config["optimisers"][training["optimiser"]]
    return {
        "run": name,
        "network": config["networks"][own["network"]],
        "network_name": own["network"],
        "dataset": content(config["datasets"][own["dataset"]]),
        "dataset_name": own["dataset"],
        "training": training,
        "seeds": config["seeds"] if own["seeds"] is None else own["seeds"],
        "departure": own["departure"],
    }, own


def identity(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the weights of a resolved run, but for its seed: network, dataset, training.

    For the key of a checkpoint. Notes, names, the list of seeds, the precision of the gradients
    and the time between checkpoints are not in it: changing them need not train anew.
    """
    training = {k: v for k, v in resolved["training"].items() if k != "checkpoint_seconds"}
    return canonical(
        {"network": resolved["network"], "dataset": resolved["dataset"], "training": training}
    )


def own_code(resolved: Mapping[str, Any]) -> list[str | None]:
    """Digests of what a resolved run names beside the library's fixed parts: the user's own
    network, if it has one, and its optimiser."""
    kind = resolved["training"]["optimiser"]["kind"]
    module = optimiser_path(kind).partition(":")[0]
    optimiser = plugins.code(kind) if plugins.is_dotted(kind) else sources.digest(module)
    return [plugins.code(resolved["network"]["builder"]), optimiser]


def canonical(obj: Any) -> Any:
    """A plain copy that JSON can hold, mappings sorted by key at every depth.

    Equal settings give equal copies in whatever order they were written. Raises `ConfigError` for
    a value that JSON cannot hold, such as a date or a number that is not finite.
    """
    try:
        return json.loads(_dumps(obj))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"a setting cannot be stored as JSON ({error}); use text, finite numbers, true, "
            "false, null, lists and mappings"
        ) from error


def digest(obj: Any) -> str:
    """The first 12 hex digits of the SHA-256 of the canonical JSON of `obj`."""
    return hashlib.sha256(_dumps(canonical(obj)).encode()).hexdigest()[:12]


def _dumps(obj: Any) -> str:
    return json.dumps(
        plain(obj), sort_keys=True, allow_nan=False, ensure_ascii=False, separators=(",", ":")
    )


def _value(value: Any, path: KeyPath, found: list[str]) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _value(child, (*path, str(key)), found) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_value(item, (*path, index), found) for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    if _EXPONENT.fullmatch(value):
        return float(value)
    try:
        return yamlscalars.plain(value)
    except ValueError as error:
        remedy = "; a text in quotes belongs into a file for --configfile"
        found.append(f"{dotted(path)}: {error}{remedy}")
        return value


def _refuse_other_keys(tree: Any, sources: Sequence[Source], path: tuple = ()) -> None:
    items = tree.items() if isinstance(tree, dict) else ()
    for key, child in items:
        if not isinstance(key, str):
            problem = Problem((*path, str(key)), "is a key that is not text; put it in quotes")
            raise ConfigError(f"{origin(path, sources)}: {'.'.join(problem.path)}: {problem.text}")
        _refuse_other_keys(child, sources, (*path, key))


def _too_large(tree: Any, path: KeyPath = ()) -> list[Problem]:
    """Whole numbers that no array and no float would hold; options are a user's own."""
    if path[-1:] == ("options",):
        return []
    if isinstance(tree, int) and abs(tree) > LARGEST:
        return [Problem(path, f"{show(tree)} is too large; write a number of fewer digits")]
    items = tree.items() if isinstance(tree, dict) else ()
    items = enumerate(tree) if isinstance(tree, list) else items
    return [problem for key, child in items for problem in _too_large(child, (*path, key))]


def _references(config: Mapping[str, Any]) -> list[Problem]:
    found = []
    for kind in ("runs", "trajectories"):
        entries = config.get(kind)
        for run, own in entries.items() if isinstance(entries, dict) else ():
            for key, group in (("network", "networks"), ("dataset", "datasets")):
                names, name = config.get(group), own.get(key) if isinstance(own, dict) else None
                if isinstance(name, str) and isinstance(names, dict) and name not in names:
                    text = f"{show(name)} is not under {group}; {suggestion(name, names)}"
                    found.append(Problem((kind, run, key), text))
            if isinstance(own, dict):
                path, name = crosschecks.origin(config, kind, run, "training", "optimiser")
                names = config.get("optimisers")
                if isinstance(name, str) and isinstance(names, dict) and name not in names:
                    text = f"{show(name)} is not under optimisers; {suggestion(name, names)}"
                    found.append(Problem(path, text))
    return list(dict.fromkeys(found))
