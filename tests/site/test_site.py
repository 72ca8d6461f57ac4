"""The site in a real browser, opened from disk: what can be done, seen, and read back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from boards import ANSI, EVIL, MARKUP, hostile, source_of

from qbench.report.export import to_json
from qbench_site.build import build
from qbench_site.content import Source

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAGES = ["index.html", "transfer.html", "compare.html", "methods.html", "models/reup.html"]
LONG = ["claims.html", "tables.html", "downloads.html"]


@pytest.fixture(scope="session")
def board() -> Source:
    return source_of(hostile())


@pytest.fixture(scope="session")
def site(board: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of two boards; the second one is the first again, in its own folder."""
    out = tmp_path_factory.mktemp("site") / "of boards"  # a blank in a path is common
    build([board, replace(board, name="second", folder="boards/second/")], out)
    return out


@contextmanager
def opened(
    browser: Browser, file: Path, width: int = 1280, fragment: str = "", **options: object
) -> Iterator[Page]:
    """A page opened from disk; nothing may be written to its console, and nothing may be asked of
    the network."""
    context = browser.new_context(viewport={"width": width, "height": 800}, **options)  # type: ignore[arg-type]
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on(
        "request",
        lambda asked: said.append(asked.url) if not asked.url.startswith(("file:", "data:")) else 0,
    )
    page.goto(file.as_uri() + fragment)
    yield page
    assert said == []
    context.close()


def column(page: Page, heading: str, table: str = ".ranking") -> list[str]:
    """The visible cells of a column, top to bottom."""
    return page.evaluate(
        """([table, heading]) => {
            const found = document.querySelector(table);
            const place = [...found.tHead.rows[0].cells]
                .findIndex((cell) => cell.textContent === heading);
            return [...found.tBodies[0].rows].filter((row) => row.checkVisibility())
                .map((row) => row.cells[place].textContent);
        }""",
        [table, heading],
    )  # type: ignore[no-any-return]


def sort_by(page: Page, heading: str) -> None:
    page.locator(".ranking th", has_text=re.compile(f"^{heading}$")).click()
    page.wait_for_timeout(30)  # the library sorts a moment later


@pytest.mark.parametrize("name", [*PAGES, *(pytest.param(n, marks=pytest.mark.slow) for n in LONG)])
def test_every_page_is_clean_accessible_and_fits_a_phone(
    browser: Browser, site: Path, name: str
) -> None:
    with opened(browser, site / name, 360) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert grave(page) == []
        assert page.title() not in ("broken", "1")


@pytest.mark.parametrize("name", ["index.html", "transfer.html", "compare.html"])
def test_the_dark_theme_has_contrast_enough(browser: Browser, site: Path, name: str) -> None:
    with opened(browser, site / name, color_scheme="dark") as page:
        assert page.evaluate("qbench.dark()")
        assert grave(page, runOnly=["color-contrast"]) == []


def grave(page: Page, **options: object) -> list[tuple[str, str]]:
    """Serious and critical violations of accessibility, each with the element that shows it."""
    # Without `preload` axe fetches no style sheet again, which the policy forbids.
    given = {"preload": False, "resultTypes": ["violations"], **options}
    found = Axe().run(page, options=given).response["violations"]
    return [
        (one["id"], one["nodes"][0]["html"])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def test_the_ranking_says_what_the_archive_says(
    browser: Browser, site: Path, board: Source
) -> None:
    rows = {row["model"]: row for row in json.loads(to_json(board.board))["rows"]}
    with opened(browser, site / "index.html") as page:
        names = column(page, "Model")
        assert names == [r.model.name for r in board.board.rows if r.rank is not None]
        for name, worst, clean, certified in zip(
            names,
            column(page, "Worst case"),
            column(page, "Clean"),
            column(page, "Certified"),
            strict=True,
        ):
            row = rows[name]
            assert worst == f"{row['worst']['mean']:.3f} ± {row['worst']['std']:.3f}"
            assert clean == f"{row['clean']['mean']:.3f} ± {row['clean']['std']:.3f}"
            ends = next(one for one in row["intervals"] if one["eps"] == 0.1)
            assert certified.startswith(f"{ends['certified']:.3f}")
            drawn = page.locator(f'tr[data-model="{name}"] svg')
            assert float(drawn.locator(".worst").get_attribute("cx") or "") == pytest.approx(
                200 * row["worst"]["mean"], abs=0.06
            )
            assert float(drawn.locator(".proved").get_attribute("width") or "") == pytest.approx(
                200 * ends["certified"], abs=0.06
            )


def eventually(page: Page, holds: Callable[[], bool]) -> None:
    """Fails where something does not hold within seconds: a busy machine draws late."""
    for _ in range(100):
        if holds():
            return
        page.wait_for_timeout(50)
    assert holds()


def falling(page: Page, head: str) -> None:
    """The numbers of a column fall from row to row."""

    def holds() -> bool:
        values = [float(value.split()[0]) for value in column(page, head)]
        return values == sorted(values, reverse=True)

    eventually(page, holds)


def test_sorting_by_mouse_and_by_keyboard(browser: Browser, site: Path) -> None:
    with opened(browser, site / "index.html") as page:
        first = column(page, "Rank")
        assert first == [str(number) for number in sorted(map(int, first))]
        sort_by(page, "Clean")
        falling(page, "Clean")
        page.locator(".ranking th", has_text=re.compile("^Rank$")).focus()
        page.keyboard.press("Enter")
        eventually(page, lambda: column(page, "Rank") == first[::-1])
        page.keyboard.press("Enter")
        eventually(page, lambda: column(page, "Rank") == first)


def test_filters(browser: Browser, site: Path, board: Source) -> None:
    with opened(browser, site / "index.html") as page:
        everyone = column(page, "Model")
        page.select_option("#family", "quantum")
        assert set(column(page, "Family")) == {"quantum"}
        page.select_option("#training", "adversarial")
        assert column(page, "Model") == ["reup-at"]
        page.select_option("#training", "")
        page.select_option("#family", "")
        page.fill("#name", "CONV")
        assert column(page, "Model") == [name for name in everyone if "conv" in name]
        assert page.locator(".count").inner_text() == f"2 of {len(everyone)} ranked models shown"
        page.fill("#name", "")
        flagged = [row.model.name for row in board.board.rows if row.flags and row.rank]
        page.select_option("#flags", "some")
        assert column(page, "Model") == flagged
        page.select_option("#flags", "")
        page.select_option("#engine", "aer")
        assert column(page, "Model") == []
        assert column(page, "Model", ".unranked") == ["reup@aer:64"]


def test_the_slider_moves_every_bar_along_its_curves(
    browser: Browser, site: Path, board: Source
) -> None:
    row = board.board.rows[0]
    with opened(browser, site / "index.html") as page:
        before = column(page, "Worst case")
        slider = page.locator("#eps")
        slider.focus()
        page.keyboard.press("End")
        assert page.locator("output").inner_text() == "0.2"
        cells = dict(zip(column(page, "Model"), column(page, "Worst case"), strict=True))
        assert cells[row.model.name] == f"{row.worst_at[0.2].mean:.3f}"
        # Between budgets: the share of all images that nothing on record broke within ε.
        stops = page.evaluate("qbench.data('ranking').eps")
        place = stops.index(0.15)
        page.evaluate(
            "(at) => { const s = document.getElementById('eps'); s.value = at;"
            " s.dispatchEvent(new Event('input')); }",
            place,
        )
        proved = row.proved("linf")
        assert proved is not None
        distances = [d for seed in proved.images for d in seed.distance]
        kept = sum(d > 0.15 for d in distances) / sum(seed.n for seed in proved.images)
        cells = dict(zip(column(page, "Model"), column(page, "Worst case"), strict=True))
        assert float(cells[row.model.name]) == pytest.approx(kept, abs=6e-4)
        sort_by(page, "Worst case")
        page.keyboard.press("Tab")
        slider.focus()
        page.keyboard.press("Home")
        falling(page, "Worst case")
        slider.evaluate(
            "(s, at) => { s.value = at; s.dispatchEvent(new Event('input')); }", stops.index(0.1)
        )
        eventually(page, lambda: sorted(column(page, "Worst case")) == sorted(before))


def test_what_comes_from_outside_is_text(browser: Browser, site: Path, board: Source) -> None:
    with opened(browser, site / "index.html") as page:
        row = page.locator(".unranked tbody tr", has_text=EVIL)
        assert row.locator("th").inner_text() == EVIL
        assert "no result of pgd for seed 2" in row.locator(".words").inner_text()
        link = row.locator("a").get_attribute("href")
    assert link is not None
    with opened(browser, site / link) as page:
        assert page.locator("h1").inner_text() == EVIL
        page.locator("summary", has_text="records, by id").click()
        assert page.locator(".records").get_by_text(MARKUP).count() == 1
        assert page.locator("main img").count() == 0
    with opened(browser, site / "models/reup.html") as page:
        assert MARKUP.replace("**b", "**b") in page.locator(".lead").inner_text()
        assert page.locator("dd", has_text=EVIL).count() == 1
    for file in site.rglob("*.html"):
        text = file.read_text()
        assert "\x1b" not in text, file
        assert "\u202e" not in text, file
        assert "<script>document" not in text, file
    assert ANSI not in (site / "index.html").read_text()


def test_comparing_models(browser: Browser, site: Path, board: Source) -> None:
    test = next(
        one for one in board.board.comparisons if {one.first, one.second} == {"reup", "convnet-at"}
    )
    with opened(browser, site / "compare.html", fragment="#reup,convnet-at") as page:
        assert page.locator("#side thead a").all_inner_texts() == [
            row.model.name for row in board.board.rows if row.model.name in ("reup", "convnet-at")
        ]
        cells = page.locator("#tests tbody tr").first.locator("th, td").all_inner_texts()
        ends = " to ".join(f"{end:.3f}".replace("-", "−") for end in (test.low, test.high))
        assert cells[:2] == [f"{test.first} − {test.second}", f"{test.difference:.3f} ({ends})"]
        page.get_by_label("reup-at", exact=True).check()
        assert page.locator("#tests tbody tr").count() == 3
        assert page.locator("#curves canvas").count() == 1
        assert "reup-at" in page.evaluate("location.hash")
        page.locator("#side thead a").first.click()
        assert page.locator("h1").inner_text() == board.board.rows[0].model.name


def test_the_heat_map_by_mouse_and_keyboard(browser: Browser, site: Path, board: Source) -> None:
    (one, other) = board.board.transfers
    with opened(browser, site / "transfer.html") as page:
        names = page.locator(".matrix:visible thead th").all_inner_texts()
        assert names == list(one.models)
        made, shown = names[2], names[3]
        page.locator(".matrix:visible tbody tr").nth(2).locator("td").nth(3).hover()
        mean = one.entries[made, shown].mean
        assert mean is not None
        told = page.locator("#told").inner_text()
        assert told.startswith(f"On images made for {made}, {shown} keeps")
        assert float(told.rstrip(".").split()[-1]) == pytest.approx(mean, abs=0.0051)
        page.locator(".matrix:visible tbody td").first.focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
        assert page.locator("#told").inner_text().startswith(f"Attacked itself, {names[1]} keeps")
        page.select_option("#attack", "1")
        assert (
            page.locator(".matrix:visible h2").inner_text() == f"{other.setting.attack} at ε = 0.1"
        )


def test_the_page_of_a_model(browser: Browser, site: Path, board: Source) -> None:
    row = next(row for row in board.board.rows if row.model.name == "reup")
    with opened(browser, site / "models/reup.html") as page:
        assert page.locator(".chart canvas").count() == 2
        assert page.locator(".circuit .control").count() == 8  # the first ring of eight qubits
        facts = dict(
            zip(
                page.locator("#what ~ dl dt").all_inner_texts(),
                page.locator("#what ~ dl dd").all_inner_texts(),
                strict=False,
            )
        )
        assert facts["Two-qubit gates"] == "256"  # 32 layers of a ring of 8
        assert facts["Rotations"] == "768"
        assert facts["Results added"] == "2026-01-31"
        # A layer takes a Rot and at least two CNOTs a qubit one after the other.
        assert int(facts["Depth"].split()[0]) >= 32 * 3
        table = page.locator("#robustness ~ .table-box table").first
        cells = table.locator("tr", has_text="worst case").locator("td").all_inner_texts()[1:]
        heads = table.locator("th").all_inner_texts()
        at = cells[heads.index("ε = 0.1") - 1]
        # Of a third seed, which another model has, nothing is on record here: a note says so.
        assert at == f"{row.worst.mean:.3f} ± {row.worst.std:.3f} [2]"
        assert "⚑ flat-gradients" in page.locator("#flags ~ p").first.inner_text()
        page.locator("summary", has_text="records, by id").click()
        own = [r for r in board.results.records if r.task.model.name == "reup"]
        kept = [r for r in own if r.task.kind != "transfer"]
        assert page.locator(".records tbody tr").count() == len(kept)
        shown = page.locator(".records code").all_inner_texts()
        assert set(shown) == {record.id[:16] for record in kept}


def test_the_theme_is_switched_and_kept(browser: Browser, site: Path) -> None:
    with opened(browser, site / "models/reup.html", color_scheme="light") as page:
        paper = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(paper)
        page.locator("button.theme").click()
        dark = page.evaluate(paper)
        assert dark != light
        assert page.locator(".chart canvas").count() == 2
        page.reload()
        assert page.evaluate(paper) == dark


def test_without_scripts_every_table_is_there(browser: Browser, site: Path, board: Source) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / "index.html").as_uri())
    ranked = sum(row.rank is not None for row in board.board.rows)
    assert page.locator(".ranking tbody tr").count() == ranked
    assert page.locator(".controls").is_hidden()
    assert page.locator("button.theme").is_hidden()
    page.goto((site / "transfer.html").as_uri())
    assert page.locator(".matrix:visible").count() == len(board.board.transfers)
    context.close()


def test_boards_link_to_each_other(browser: Browser, site: Path) -> None:
    with opened(browser, site / "index.html") as page:
        page.locator(".boards a", has_text="second").click()
        assert page.url.endswith("boards/second/index.html")
        page.locator(".ranking a").first.click()
        assert "/boards/second/models/" in page.url
        page.locator("nav a", has_text="Claims").click()
        assert page.url.endswith("claims.html")


def test_nothing_inline_runs(browser: Browser, site: Path, tmp_path: Path) -> None:
    """The policy holds from disk: were a script to get into a page, it would not run."""
    text = (site / "methods.html").read_text()
    bad = "<script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"
    (site / "bad.html").write_text(text.replace("</h1>", f"</h1>{bad}"))
    context = browser.new_context()
    page = context.new_page()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto((site / "bad.html").as_uri())
    page.wait_for_timeout(100)
    assert page.title() != "broken"
    assert sum("Content Security Policy" in one for one in refused) >= 2
    context.close()
    (site / "bad.html").unlink()
