"""The manual of the configuration says what is so."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import PAPER_SCHEMA, claims
from torch import nn

from limitcycles.configuration import manual, settings
from limitcycles.configuration.yamlfile import ConfigError
from limitcycles.judging import papers

ROOT = Path(__file__).parents[2]
README = ROOT / "config/README.md"
BASE, SCALES = ROOT / "config/config.yaml", ROOT / "config/scales"
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.M | re.S)


def properties(node, root, path=""):
    """All keys of a schema, without the code that makes the table; <name> for free names."""
    if "$ref" in node:
        target = root["$defs"][node["$ref"].rpartition("/")[2]]
        node = {**target, **node}
    for name, child in node.get("properties", {}).items():
        yield f"{path}{name}"
        laid_over = (
            "runs.<name>.training",
            "runs.<name>.gradients",
            "trajectories.<name>.training",
        )
        if path + name not in laid_over:
            yield from properties(child, root, f"{path}{name}.")
    if isinstance(node.get("additionalProperties"), dict):
        yield from properties(node["additionalProperties"], root, f"{path}<name>.")


def test_every_key_is_in_the_table():
    schema = settings.read_yaml(SCHEMA)
    wanted = list(properties(schema, schema))
    assert "runs.<name>.departure" in wanted
    assert "training.learning_rate.at" in wanted
    rows = re.findall(r"^\| `([^`]+)` \|", README.read_text(), re.M)
    assert [row for row in rows if row in wanted] == wanted


def test_table_is_up_to_date():
    text = README.read_text()
    table = text.split(manual.BEGIN)[1].split(manual.END)[0].strip()
    current = manual.key_table(settings.read_yaml(SCHEMA))
    assert table == current, "run python -m limitcycles.manual"


def test_write_table(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{manual.BEGIN}\nold\n{manual.END}\nafter\n")
    for _ in range(2):  # writing twice changes nothing
        manual.write_table(readme, SCHEMA)
        head, _, tail = readme.read_text().partition(manual.key_table(settings.read_yaml(SCHEMA)))
        assert head == f"before\n{manual.BEGIN}\n\n"
        assert tail == f"\n\n{manual.END}\nafter\n"
    readme.write_text("no markers")
    with pytest.raises(ConfigError, match="has no lines"):
        manual.write_table(readme, SCHEMA)


def test_scales_are_in_the_manual():
    for scale in settings.read_yaml(SCHEMA)["properties"]["scale"]["enum"]:
        assert f"| `{scale}` |" in README.read_text()


def test_keys_of_a_paper_are_in_the_manual():
    schema = settings.read_yaml(PAPER_SCHEMA)
    for key in [*schema["properties"], *schema["$defs"]["entry"]["properties"], "grid", "where"]:
        assert re.search(rf"`{key}`|^ *{key}:", README.read_text(), re.M), key


def test_examples_of_settings_are_valid(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)  # where the manual's own code is looked for
    for block in blocks("python"):
        Path(block.split()[1].strip(",")).write_text(block)
    examples = [block for block in blocks("yaml") if not block.startswith("citation")]
    assert len(examples) == 6
    files = []
    for number, block in enumerate(examples):
        files.append(tmp_path / f"{number}.yaml")
        files[-1].write_text(block)
    config = settings.load(BASE, SCALES, SCHEMA, extra=files)
    assert settings.resolve_run(config, "rate0.05-b32-with")["training"]["batch_size"] == 32
    assert settings.resolve_run(config, "two-layers")["network"]["weights"] == 970
    assert settings.resolve_trajectory(config, "small-fc-long")["windows"] == [[9000, 5]]
    assert settings.resolve_run(config, "small-fc-on-blobs")["dataset"]["options"] == {
        "images": 2000
    }


def test_example_of_a_paper_is_valid(tmp_path):
    (example,) = [block for block in blocks("yaml") if block.startswith("citation")]
    (tmp_path / "example2018.yaml").write_text(example)
    found = papers.load(tmp_path, PAPER_SCHEMA, settings.load(BASE, SCALES, SCHEMA))
    assert set(papers.targets(found)) == {"example2018", "figure_1"}
    entry, real = papers.claims(found)["rank-small-lenet"], claims()["rank-small-lenet"]
    for key in ("title", "group", "source", "judged_by", "snapshots", "rule_parameters"):
        assert entry[key] == real[key]
    assert set(entry) == set(real)


def test_examples_of_code_do_what_they_say():
    names = {}
    for block in blocks("python"):
        exec(block, names)  # the manual's own text
    arrays = names["blobs"](images=20)
    assert [a.dtype for a in arrays] == [np.uint8, np.int64, np.uint8, np.int64]
    assert [len(a) for a in arrays] == [10] * 4
    network = names["two_layers"](hidden=16)
    assert isinstance(network, nn.Module)
    assert sum(p.numel() for p in network.parameters()) == 970


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "training: {epoks: 3}",
            "training.epoks: unknown key (value 3); nearest valid key: epochs",
        ),
        ("epochs: 3", "epochs: unknown key (value 3); this key belongs at training.epochs"),
        (
            "training: {sampler: index-lst}",
            '"index-lst" is not allowed; nearest valid value: index-list; ',
        ),
        (
            "training: {epochs: 010}",
            "training.epochs: 010 is the number 8 in YAML 1.1 and the number 10 in YAML 1.2; "
            "write 8, or 10, or ",
        ),
        ("training: {learning_rate: 0.1}", "0.1 is not a mapping; write {start: 0.1}"),
        ("runs: {'fd-*': {}}", "matches none of the runs; "),
        (
            "grids: {g: {of: trajectories, settings: {network: tiny-fc, dataset: mnist-7x7-04},"
            " factors: {x: {sets: training.epochs, values: [9], name: few-four-digits}}}}",
            "stands beside them; ",
        ),
        ("runs: {fc-8: {network: fc}}", "is not under networks; nearest valid value: "),
        ("scale: lap", "has no file in "),
        (
            "training: {epochs: 1, epochs: 2}",
            ", line 1: the key 'epochs' stands twice in one mapping",
        ),
    ],
)
def test_errors_of_the_manual_are_the_real_ones(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        settings.load(BASE, SCALES, SCHEMA, extra=[path])
    assert message in str(caught.value)
    if ", line" not in message:
        assert message in README.read_text(encoding="utf-8")
