"""The page of the sample explorer in Chromium, opened from disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from torch.nn.functional import cross_entropy

import qbench
from qbench_site import explorer
from qbench_site.content import Page as Made
from qbench_site.content import Source
from qbench_site.render import Renderer, as_script

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PLUGIN = Path(explorer.__file__).parent
HOSTILE = '<img src=x onerror="document.title=1">'


@pytest.fixture(scope="module")
def site(source: Source, data: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The explorer, and beside it one of a model that only records know, of a bad name."""
    out = tmp_path_factory.mktemp("site")
    for folder in ("vendor", "assets"):
        shutil.copytree(PLUGIN / folder, out / "assets", dirs_exist_ok=True)
    made = list(explorer.pages(source))
    renderer = Renderer([source], [part for part in made if isinstance(part, Made)])
    for part in made:
        content = renderer.html(part) if isinstance(part, Made) else part.content
        (out / part.path).parent.mkdir(exist_ok=True)
        (out / part.path).write_bytes(content)
    stranger = {**data["models"][0], "name": HOSTILE, "live": None}
    changed = {**data, "models": [*data["models"], stranger], "classes": ["<b>", "+", "⊢", "⊣"]}
    (out / "data" / "changed.js").write_bytes(as_script("explorer", changed))
    page = (out / "explorer.html").read_text().replace("data/explorer.js", "data/changed.js")
    (out / "changed.html").write_text(page)
    return out


@contextmanager
def opened(
    browser: Browser, site: Path, address: str = "explorer.html", **options: Any
) -> Iterator[Page]:
    """A page whose attack is done; nothing may have gone wrong when it is left."""
    context = browser.new_context(**options)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(f"{site.as_uri()}/{address}")
    if options.get("java_script_enabled", True):
        page.wait_for_selector(".explorer[data-done]", timeout=30_000)
    yield page
    assert said == []
    context.close()


def settle(page: Page) -> None:
    """Wait until the attack is done and no other follows."""
    page.wait_for_selector(".status:not([aria-busy])", timeout=30_000)


def test_choices_by_keyboard_give_torchs_values(browser: Browser, site: Path) -> None:
    with opened(browser, site, "explorer.html#image=4&model=reup-hw4&attack=pgd") as page:
        page.focus("input[name=image]:checked")
        page.keyboard.press("ArrowRight")
        assert page.input_value("input[name=image]:checked") == "5"
        for name, wanted in (("model", "convnet"), ("attack", "fgsm")):
            page.keyboard.press("Tab")
            page.keyboard.press("Home")
            for _ in range(6):
                if page.input_value(f"select[name={name}]") != wanted:
                    page.keyboard.press("ArrowDown")
        page.keyboard.press("Tab")
        page.keyboard.press("Home")
        for _ in range(10):
            page.keyboard.press("ArrowRight")
        settle(page)
        assert page.inner_text("output[name=budget]") == "0.050"
        assert page.evaluate("location.hash") == "#image=5&model=convnet&attack=fgsm&eps=0.05"
        shown = {
            row.get_attribute("data-model"): row.locator(".margin").inner_text()
            for row in page.locator(".verdicts tbody tr").all()
        }
        answers = {
            row.get_attribute("data-model"): row.locator(".changed span").first.inner_text()
            for row in page.locator(".verdicts tbody tr").all()
        }
    split = qbench.load_dataset("glyphs").test
    x, y = split.x[5:6].double().requires_grad_(), split.y[5:6]
    loss = cross_entropy(qbench.load_model("convnet").double()(x), y)
    (gradient,) = torch.autograd.grad(loss, x)
    x_adv = (x + 0.05 * gradient.sign()).clamp(0, 1).detach()
    assert len(shown) == 6
    for name, margins in shown.items():
        scores = qbench.load_model(str(name)).double()(torch.cat([x, x_adv])).detach()
        rest = scores.scatter(1, y.expand(2, 1), -torch.inf).amax(1)
        from_, to = (scores[:, int(y)] - rest).tolist()
        assert margins == f"{from_:.3f} → {to:.3f}".replace("-", "−"), name
        right = int(scores[1].argmax()) == int(y)
        assert answers[name].split()[-1] == ("right" if right else "wrong")


def test_worst_images_on_record_and_models_that_are_only_there(
    browser: Browser, site: Path, data: dict[str, Any]
) -> None:
    first = data["models"][0]
    image, said = first["kept"]["image"][0], first["kept"]["prediction"][0]
    asked = f"#image={image}&model={HOSTILE}&attack=kept"
    with opened(browser, site, f"changed.html{asked}") as page:
        assert page.title().startswith("Sample explorer")
        row = page.locator(".verdicts tr.source")
        assert row.locator("button").inner_text() == HOSTILE
        assert row.locator("span.tag").inner_text() == "under attack"
        names = ["<b>", "+", "⊢", "⊣"]
        assert row.locator(".changed").inner_text().split() == [names[said], "wrong"]
        assert row.locator(".margin").inner_text() == ""
        assert f"calls “{names[data['labels'][image]]}” now “{names[said]}”" in page.inner_text(
            ".status"
        )
        twin = page.locator(f'.verdicts tr[data-model="{first["name"]}"]')
        assert twin.locator(".changed").inner_text().split() == [names[said], "wrong"]
        assert page.locator("select[name=attack] option:not([disabled])").count() == 1
        assert page.locator("img").count() == 0


@pytest.mark.parametrize("scheme", [pytest.param("light", marks=pytest.mark.slow), "dark"])
def test_fits_a_phone_and_both_themes(browser: Browser, site: Path, scheme: str) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "color_scheme": scheme}
    with opened(browser, site, "explorer.html#model=fourier&image=7&eps=0.1", **phone) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        drawn = page.evaluate(
            "[...document.querySelector('canvas.delta').getContext('2d')"
            ".getImageData(0, 0, 16, 16).data]"
        )
        seen = {tuple(drawn[i : i + 3]) for i in range(0, len(drawn), 4)}
        full = {"light": {(27, 101, 166), (191, 84, 18)}, "dark": {(108, 180, 240), (255, 157, 92)}}
        assert full[scheme] <= seen  # pixels at −ε and at ε
        clean, changed = (
            page.evaluate(
                "name => [...document.querySelector(name).getContext('2d')"
                ".getImageData(0, 0, 16, 16).data].filter((_, i) => i % 4 === 0)",
                f"canvas.{name}",
            )
            for name in ("clean", "changed")
        )
        moved = [abs(a - b) for a, b in zip(clean, changed, strict=True)]
        assert 24 <= max(moved) <= 26  # 0.1 of 255
        found = Axe().run(page, options={"preload": False}).response["violations"]
        assert [(v["id"], v["nodes"][0]["html"]) for v in found] == []


def test_without_javascript_there_is_a_table(
    browser: Browser, site: Path, data: dict[str, Any]
) -> None:
    with opened(browser, site, java_script_enabled=False) as page:
        assert not page.is_visible(".explorer")
        rows = page.locator("noscript table tbody tr").all_inner_texts()
        assert len(rows) == len(data["models"])
        for one, row in zip(data["models"], rows, strict=True):
            cells = row.split("\t")
            assert cells[0] == one["name"]
            assert float(cells[2]) == one["radius"][0]


def test_data_is_small_and_safe_to_embed(site: Path) -> None:
    script = (site / "data" / "explorer.js").read_text()
    assert script.startswith('qbench.provide("explorer",')
    assert len(script) < 6 * 80_000
    assert json.loads(script[len('qbench.provide("explorer",') : -3])["eps"] == 0.1
