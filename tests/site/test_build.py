"""The files of the site, what is vendored, and the server, without a browser."""

from __future__ import annotations

import csv
import gzip
import hashlib
import http.client
import io
import json
import re
import tomllib
from dataclasses import replace
from importlib import resources
from pathlib import Path
from urllib.parse import urldefrag

import numpy as np
import pandas as pd
import pytest
from boards import EVIL, PLAIN, hostile, many, source_of

from qbench.circuits.circuit import Circuit
from qbench.errors import StoreError, UsageError
from qbench.records.identity import Engine
from qbench.records.record import Device
from qbench.report.collect import collect
from qbench_site import start as start_page
from qbench_site.build import build
from qbench_site.circuits import facts
from qbench_site.content import Source
from qbench_site.reading import read
from qbench_site.serving import fingerprint, start


@pytest.fixture(scope="module")
def board() -> Source:
    return source_of(hostile())


@pytest.fixture(scope="module")
def site(board: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("files")
    build([board], out)
    return out


def test_what_is_vendored_is_what_was_published() -> None:
    folder = resources.files("qbench_site") / "vendor"
    named = tomllib.loads((folder / "VENDORED.toml").read_text())["package"]
    files = {one["file"]: one["sha256"] for package in named for one in package["files"]}
    assert set(files) == {file.name for file in folder.iterdir()} - {"VENDORED.toml"}
    for name, sha256 in files.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == sha256, name
    assert all(package["licence"] and package["version"] for package in named)


def test_equal_results_give_equal_bytes(board: Source, site: Path, tmp_path: Path) -> None:
    build([board], tmp_path / "again")
    for file in sorted(site.rglob("*")):
        if file.is_file():
            assert (tmp_path / "again" / file.relative_to(site)).read_bytes() == file.read_bytes()


def test_every_link_leads_somewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    ids = {page: set(re.findall(r'\bid="([^"]+)"', page.read_text())) for page in pages}
    links = 0
    for page in pages:
        for target in re.findall(r'(?:href|src)="([^"]+)"', page.read_text()):
            assert "://" not in target, f"{page.name} loads or links to {target}"
            path, fragment = urldefrag(target)
            file = (page.parent / path).resolve() if path else page
            assert file.is_file(), f"{page.name} links to {target}"
            assert not fragment or fragment in ids[file], f"{page.name} links to {target}"
            links += 1
    assert links > 200


@pytest.fixture
def one_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the start page of each board: what is asked here is of the folder."""
    monkeypatch.setattr("qbench_site.build.MAKERS", (start_page.pages,))
    monkeypatch.setattr("qbench_site.build.claims.pages", lambda sources, recompute: [])


@pytest.mark.usefixtures("one_page")
def test_a_second_build_removes_what_is_gone_and_touches_nothing_else(
    board: Source, tmp_path: Path
) -> None:
    build([board, replace(board, name="old", folder="boards/old/")], tmp_path)
    assert (tmp_path / "boards/old/index.html").exists()
    (tmp_path / "mine.txt").write_text("mine")
    build([board], tmp_path)
    assert not (tmp_path / "boards/old/index.html").exists()
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_folder_of_something_else_is_left_alone(board: Source, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(StoreError, match="holds something else than a site"):
        build([board], tmp_path)
    assert (tmp_path / "index.html").read_text() == "mine"
    (tmp_path / "site.json").write_text("{}")
    with pytest.raises(StoreError, match="is damaged"):
        build([board], tmp_path)


@pytest.mark.usefixtures("one_page")
def test_a_mark_that_names_files_outside_removes_none(board: Source, tmp_path: Path) -> None:
    outside = tmp_path / "mine.txt"
    outside.write_text("mine")
    (tmp_path / "site").mkdir()
    names = ["../mine.txt", str(outside), "a/../../mine.txt"]
    (tmp_path / "site" / "site.json").write_text(json.dumps({"files": names}))
    build([board], tmp_path / "site")
    assert outside.read_text() == "mine"


def test_downloads_hold_what_the_board_says(board: Source, site: Path) -> None:
    folder = site / "downloads"
    rows = list(csv.DictReader(io.StringIO((folder / "ranking.csv").read_text())))
    assert next(row["Model"] for row in rows) == board.board.rows[0].model.name
    frame = pd.read_csv(folder / "records.csv.gz")
    assert set(frame["id"]) == {record.id for record in board.results.records}
    text = gzip.decompress((folder / "records.csv.gz").read_bytes()).decode()
    assert EVIL in text
    bibtex = (folder / "qbench.bib").read_text()
    assert bibtex.count("@misc{") == 1
    assert board.board.about.protocol.sha256[:12] in bibtex
    assert json.loads((folder / "leaderboard.json").read_text())["ranking_eps"] == 0.1


def test_a_circuit_is_counted_by_hand() -> None:
    # Two qubits: a ring is CNOT(0, 1) and CNOT(1, 0), one after the other, after the rotations.
    found = facts(Circuit(2, 3, (0,)))
    assert (found.rotations, found.cnots, found.depth) == (18, 6, 9)
    # On an open line of three: CNOT(0, 1), then CNOT(1, 2); wire 0 is free again before wire 2.
    line = facts(Circuit(3, 1, (0,), (1,), closed=False))
    assert (line.rotations, line.cnots, line.depth) == (9, 2, 3)
    # Three couplings in the place of rings: only wires 0 and 1 take turns.
    own = facts(Circuit(3, 2, (0,), couplings=(((0, 1), (1, 0)), ())))
    assert (own.rotations, own.cnots, own.depth, own.ranges) == (18, 2, 4, ())


def test_a_board_without_attacks_and_one_of_a_single_model_are_shown(tmp_path: Path) -> None:
    results = many(1)
    build([Source("one", "", results, collect(results), None)], tmp_path)
    assert "It cannot be told from this board" in (tmp_path / "index.html").read_text()
    assert not (tmp_path / "transfer.html").exists()
    assert "transfer.html" not in (tmp_path / "index.html").read_text()


def test_a_row_that_was_only_certified_says_so(tmp_path: Path) -> None:
    run = hostile()
    radii = np.full(40, 0.05)
    engine, device = Engine(name="aer", shots=4096), Device(name="d")
    away = {"engine": engine, "device": device, "certifier": "counts", "confidence": 0.999}
    run.certified(PLAIN[0], 0, radii, **away)
    build([source_of(run)], tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert "certified from counts and not attacked: the exact circuit is what ranks" in page
    assert "attacks saw the engine: the exact circuit is what ranks" in page  # the other one


def test_the_server_is_for_this_machine_and_this_folder(site: Path, tmp_path: Path) -> None:
    with start(site, 0) as server:
        host, port = server.server_address[:2]
        assert host == "127.0.0.1"

        def ask(path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request(method, path, headers=headers)
            return connection.getresponse()

        page = ask("/index.html")
        assert page.status == 200
        assert page.read() == (site / "index.html").read_bytes()
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]
        assert "unsafe" not in page.headers["Content-Security-Policy"]
        assert ask("/").status == 200
        assert ask("/models/").status == 404
        assert ask("/../../../../etc/passwd").status == 404
        assert ask("/%2e%2e/%2e%2e/etc/passwd").status == 404
        assert ask("/index.html", Host="evil.example").status == 403
        assert ask("/index.html", "POST").status == 501
        with pytest.raises(UsageError, match=rf"port {port} of 127.0.0.1: .*try --port 0"):
            start(site, port)
        server.shutdown()


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    before = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == before
    (tmp_path / "a").write_text("22")
    assert fingerprint(tmp_path) != before


@pytest.mark.slow
def test_the_published_archive_as_a_site(tmp_path: Path) -> None:
    """The numbers of its pages are those of the markdown page, and it is small."""
    root = Path(__file__).parents[2] / "leaderboard"
    written = build(read(root / "results"), tmp_path)
    assert sum(path.stat().st_size for path in written) < 6e6
    start = (tmp_path / "index.html").read_text()
    found = re.findall(
        r'<td class="right" data-sort="(\d+)">.*?<a href="[^"]*">([^<]*)</a>.*?'
        r'certified" data-sort="[^"]*">([^<]*)<.*?worst-case strong" data-sort="[^"]*">([^<]*)<'
        r'.*?<td class="right"[^>]*>([^<]*)<',
        start,
        re.DOTALL,
    )
    table = (root / "README.md").read_text().split("## Robust accuracy")[1].split("\n\n")[1]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    shown = [
        [rank, name, clean, f"[{certified.split(' ')[0]}, {worst}]"]
        for rank, name, certified, worst, clean in found
    ]
    published = [
        [line[0], line[1], line[3], re.sub(r"\\([\[\]])", r"\1", line[4])] for line in lines
    ]
    assert shown == published
    assert len(shown) >= 20
