import json

import pytest
import yaml

from limitcycles.datasets import specification
from limitcycles.datasets.catalogue import CATALOGUES
from limitcycles.datasets.errors import DatasetError

SOURCES = ["digits", "mnist"]


def test_complete_fills_in_the_defaults():
    assert specification.complete({"source": "mnist", "classes": [0, 1]}, SOURCES) == {
        "source": "mnist",
        "classes": [0, 1],
        "train_images_per_class": None,
        "train_images": None,
        "resize": None,
        "pixels": "unit",
        "whiten": None,
        "options": {},
    }


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "the key source is missing"),
        ({"source": "mnist", "resise": None}, 'no key "resise"; did you mean "resize"'),
        ({"source": "minst"}, 'source: minst: unknown; did you mean "mnist"'),
        ({"source": None}, "source: None: unknown"),
        ({"source": "mnist", "pixels": "units"}, 'pixels: units: unknown; did you mean "unit"'),
        ({"source": "mnist", "classes": 3}, "classes: 3: give a list"),
        ({"source": "mnist", "classes": [True]}, "give a list of labels"),
        ({"source": "mnist", "classes": ["0"]}, "give a list of labels"),
        ({"source": "mnist", "train_images": 1.5}, "train_images: 1.5: give a number"),
        ({"source": "mnist", "resize": 7}, "resize: 7: give {method"),
        ({"source": "mnist", "resize": {"method": "bilinear"}}, "give {method"),
        (
            {"source": "mnist", "resize": {"method": "block_mean", "size": 7}},
            'resize: method: block_mean: unknown; did you mean "block-mean"',
        ),
        ({"source": "mnist", "resize": {"method": [], "size": 7}}, "resize: method"),
        ({"source": "mnist", "resize": {"method": "bilinear", "size": 0}}, "size: 0: give a num"),
        ({"source": "mnist", "whiten": 1e-5}, "whiten: 1e-05: give {regulariser"),
        ({"source": "mnist", "whiten": {}}, "whiten: {}: give {regulariser"),
        ({"source": "mnist", "whiten": {"regulariser": 0}}, "regulariser: 0: give a number above"),
        ({"source": "mnist", "whiten": {"regulariser": "1e-5"}}, "regulariser: 1e-5: give a num"),
        ({"source": "mnist", "whiten": {"regulariser": True}}, "regulariser: True: give a number"),
        ({"source": "mnist", "optional": 1}, "optional: 1: give true or false"),
        ({"source": "mnist", "options": {"a": 1}}, 'the source "mnist" takes none'),
        ({"source": "a.b:c", "options": [1]}, "a mapping for a source of your own"),
    ],
)
def test_complete_refuses_with_key_value_and_remedy(spec, message):
    with pytest.raises(DatasetError) as caught:
        specification.complete(spec, SOURCES)
    assert message in str(caught.value)


def test_optional_is_no_part_of_the_dataset():
    plain = specification.complete({"source": "mnist"}, SOURCES)
    assert specification.complete({"source": "mnist", "optional": True}, SOURCES) == plain


def test_canonical_does_not_depend_on_the_order_of_keys():
    one = specification.complete({"source": "mnist", "pixels": "raw"}, SOURCES)
    two = specification.complete({"pixels": "raw", "source": "mnist"}, SOURCES)
    assert specification.canonical(one) == specification.canonical(two)
    assert json.loads(specification.canonical(one)) == one


def test_every_dataset_of_the_config_is_valid(request):
    config = yaml.safe_load((request.config.rootpath / "config" / "config.yaml").read_text())
    assert config["datasets"]
    for spec in config["datasets"].values():
        specification.complete(spec, ["digits", *CATALOGUES])
