"""Compare the results of two commits: `python tests/compare_results.py OLD NEW`.

OLD and NEW are folders as results/quick. Compared are the claims (claims/*.json), the charts
(figures/*/*.vl.json: data and encodings), the table claims.csv and the text of the page. Numbers
and texts must be equal to the last digit. Each difference is a line with its path, and any makes
the exit status 1. Not compared is what says how and where something was made:

- code_version, config_hash: change with every commit and every setting;
- artefacts: paths of stored results;
- evaluator, judged_by, measured_by: names of code;
- of the page, the same, and everything in it that is no text.
"""

from __future__ import annotations

import argparse
import csv
import difflib
import json
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

IGNORED = {"code_version", "config_hash", "artefacts", "evaluator", "judged_by", "measured_by"}


def differences(old: Path, new: Path) -> Iterator[str]:
    """A line for each difference between two folders of results."""
    for name in _names(old, new):
        having = [top for top in (old, new) if (top / name).exists()]
        if len(having) == 1:
            yield f"{name}: is only in {having[0]}"
        elif name.endswith(".html"):
            yield from _of_texts(*(_page(top / name, _made_by(top)) for top in having), name)
        else:
            read = _rows if name.endswith(".csv") else _json
            yield from of_values(*(read(top / name) for top in having), name)


def _names(*folders: Path) -> list[str]:
    patterns = ("claims/*.json", "figures/*/*.vl.json", "claims.csv", "report/*.html")
    found = {
        path.relative_to(top).as_posix()
        for top in folders
        for pattern in patterns
        for path in top.glob(pattern)
    }
    return sorted(found)


def of_values(old, new, path: str) -> Iterator[str]:
    """A line for each difference between two values as json reads them.

    1 and 1.0, 0.0 and -0.0 differ; NaN and NaN do not.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [name for name in old | new if name not in IGNORED]:
            yield from _either(
                old, new, name, f"{path}: {name}" if ": " not in path else f"{path}.{name}"
            )
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield f"{path}: {len(old)} entries -> {len(new)}"
        for number, (one, other) in enumerate(zip(old, new, strict=False)):
            yield from of_values(one, other, f"{path}[{number}]")
    elif repr(old) != repr(new):
        yield f"{path}: {_short(old)} -> {_short(new)}"


def _either(old: dict, new: dict, name: str, path: str) -> Iterator[str]:
    if name not in new:
        yield f"{path}: {_short(old[name])} -> nothing"
    elif name not in old:
        yield f"{path}: nothing -> {_short(new[name])}"
    else:
        yield from of_values(old[name], new[name], path)


def _of_texts(old: list[str], new: list[str], path: str) -> Iterator[str]:
    for line in list(difflib.unified_diff(old, new, n=0, lineterm=""))[2:]:
        if not line.startswith("@@"):
            yield f"{path}: {line}"


def _json(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


def _rows(path: Path) -> list[dict]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _made_by(folder: Path) -> set[str]:
    """What the page of a folder of results says of how they were made."""
    found = set()
    for result in map(_json, [*folder.glob("claims.json"), *folder.glob("claims/*.json")]):
        for name in IGNORED & result.keys():
            value = result[name]
            found.update(value if isinstance(value, list) else [str(value)])
    return found


class _Texts(HTMLParser):
    def __init__(self):
        super().__init__()
        self.hidden, self.texts = 0, []

    def handle_starttag(self, tag, attrs):
        self.hidden += tag in ("script", "style")

    def handle_endtag(self, tag):
        self.hidden -= tag in ("script", "style")

    def handle_data(self, data):
        text = " ".join(data.split())
        if text and not self.hidden:
            self.texts.append(text)


def _page(path: Path, made_by: set[str]) -> list[str]:
    parser = _Texts()
    parser.feed(path.read_text(encoding="utf-8"))
    return [
        text
        for text in parser.texts
        if text not in made_by and not text.endswith("behind this claim")
    ]


def _short(value) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]} ..."


def main(arguments: list[str] | None = None) -> int:
    """Print all differences; 1 where there are any, 2 where nothing can be compared."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    given = parser.parse_args(arguments)
    for folder in (given.old, given.new):
        if not any(folder.glob("claims/*.json")):
            print(f"{folder} has no claims/*.json: name a folder as results/quick", file=sys.stderr)
            return 2
    found = list(differences(given.old, given.new))
    print(*found, sep="\n", end="\n" if found else "")
    claims = len(list(given.new.glob("claims/*.json")))
    charts = len(list(given.new.glob("figures/*/*.vl.json")))
    print(f"{len(found)} differences; {claims} claims and {charts} charts in {given.new}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
