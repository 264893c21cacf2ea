"""One entry of `datasets` in the config, checked, with every key filled in."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from limitcycles.configuration import plugins
from limitcycles.datasets.errors import DatasetError
from limitcycles.datasets.transforms import PIXELS, RESIZE

DEFAULTS: dict[str, Any] = {
    "classes": None,
    "train_images_per_class": None,
    "train_images": None,
    "resize": None,
    "pixels": "unit",
    "whiten": None,
    "options": {},
}
# Says what happens where the dataset is out of reach, not what it is: left out of a complete
# specification.
OPTIONAL = "optional"


def complete(spec: Mapping[str, Any], sources: Iterable[str]) -> dict[str, Any]:
    """The specification with its defaults, but for `optional`.

    Raises
    ------
    DatasetError
        An unknown key, source, method or scale, or a value of the wrong type; the message names
        the key, the value and the nearest valid spelling.
    """
    sources, keys = list(sources), ("source", *DEFAULTS, OPTIONAL)
    for key in spec:
        if key not in keys:
            near = plugins.did_you_mean(str(key), keys)
            raise DatasetError(
                f'dataset: there is no key "{key}"{near}; the keys are {", ".join(keys)}.'
            )
    if "source" not in spec:
        raise DatasetError(f"dataset: the key source is missing; it is one of {sources}.")
    full = {"source": spec["source"], **DEFAULTS, **spec}
    if not isinstance(full.pop(OPTIONAL, False), bool):
        raise DatasetError(f"{OPTIONAL}: {spec[OPTIONAL]}: give true or false.")
    _check(full, sources)
    return full


def canonical(full: Mapping[str, Any]) -> str:
    """The one JSON text of a complete specification."""
    return json.dumps(full, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _check(full: Mapping[str, Any], sources: list[str]) -> None:
    source = full["source"]
    if not isinstance(source, str) or not (plugins.is_dotted(source) or source in sources):
        _one_of("source", source, sources, 'or "package.module:function" of your own')
    if not isinstance(full["options"], Mapping) or (
        full["options"] and not plugins.is_dotted(source)
    ):
        raise DatasetError(
            f"options: {full['options']}: a mapping for a source of your own; "
            f'the source "{source}" takes none.'
        )
    classes = full["classes"]
    if classes is not None and not (
        isinstance(classes, list | tuple) and all(_whole(value) for value in classes)
    ):
        raise DatasetError(f"classes: {classes}: give a list of labels such as [0, 1], or null.")
    for key in ("train_images_per_class", "train_images"):
        if full[key] is not None and not _whole(full[key]):
            raise DatasetError(f"{key}: {full[key]}: give a number, or null for all.")
    if full["pixels"] not in PIXELS:
        _one_of("pixels", full["pixels"], PIXELS)
    if full["resize"] is not None:
        _check_resize(full["resize"])
    if full["whiten"] is not None:
        _check_whiten(full["whiten"])


def _check_resize(resize: Any) -> None:
    if not isinstance(resize, Mapping) or set(resize) != {"method", "size"}:
        raise DatasetError(f"resize: {resize}: give {{method: ..., size: ...}}, or null for none.")
    if resize["method"] not in list(RESIZE):
        _one_of("resize: method", resize["method"], RESIZE)
    if not _whole(resize["size"]) or resize["size"] < 1:
        raise DatasetError(f"resize: size: {resize['size']}: give a number of pixels from 1.")


def _check_whiten(whiten: Any) -> None:
    if not isinstance(whiten, Mapping) or set(whiten) != {"regulariser"}:
        raise DatasetError(f"whiten: {whiten}: give {{regulariser: ...}}, or null for none.")
    value = whiten["regulariser"]
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise DatasetError(f"whiten: regulariser: {value}: give a number above 0, such as 1.0e-5.")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _one_of(key: str, value: Any, choices: Iterable[str], other: str = "") -> None:
    choices = list(choices)
    near = plugins.did_you_mean(str(value), choices)
    raise DatasetError(
        f"{key}: {value}: unknown{near}; it is one of {', '.join(choices)}"
        f"{', ' + other if other else ''}."
    )
