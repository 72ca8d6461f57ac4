"""How long the rest will take, and how it is shown."""

import time

import pytest

from qbench.cli import progress
from qbench.cli.progress import Forecast, forecast_progress


def test_the_rest_is_judged_by_what_the_like_of_it_took():
    attack, dear, cheap = ("attack", "pgd"), ("radii", "dear"), ("radii", "cheap")
    work = [(attack, 1.0)] * 4 + [(dear, 1.0)] * 2 + [(cheap, 1.0)] * 2
    forecast = Forecast(work, at_once=2)
    assert forecast.left() == 8 / 2  # nothing is known yet but the guesses
    forecast.done(attack, 1.0, 3.0)
    assert forecast.left() == 7 * 3 / 2  # everything is thought to be as slow
    forecast.done(cheap, 1.0, 0.5)
    # What is known of attacks, of the cheap one, and for the dear one what is known of its kind.
    assert forecast.left() == (3 * 3 + 1 * 0.5 + 2 * 0.5) / 2
    forecast.done(dear, 1.0, 10.0)
    assert forecast.left() == (3 * 3 + 0.5 + 10) / 2
    for group in (attack, attack, attack, dear, cheap):
        forecast.done(group, 1.0, 1.0)
    assert forecast.left() == 0


def test_a_log_gets_a_line_now_and_then_and_one_at_the_end(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    work = [(("attack",), 1.0)] * 30
    with forecast_progress("running", Forecast(work)) as advance:
        for group, guess in work:
            now[0] += 3.0
            advance(group, guess, 3.0, "reup")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "running: 13%, 12 s, about 78 s left (reup)"
    assert lines[-1] == "running: 100%, 90 s (reup)"
    assert len(lines) == 8


@pytest.mark.parametrize("terminal", [False, True])
def test_amounts_of_a_total(monkeypatch, capsys, terminal):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: terminal, raising=False)
    with progress.progress("training", 4) as advance:
        for epoch in range(4):
            advance(1, f"epoch {epoch}")
    shown = capsys.readouterr().err
    assert "training" in shown
    assert "100" in shown
    assert "epoch 3" in shown
