"""The command as its users meet it."""

import json
import re
import sqlite3
import time

import pytest
import torch

import qbench
from qbench.records.store import RunStore
from qbench.registry import load_registry
from qbench.weights.files import fingerprint
from qbench.weights.zoo import Zoo

HEAVY = ("torch", "numba", "matplotlib", "cvxpy", "scipy")


def test_the_leaderboard_from_one_command(qbench_cli, tmp_path):
    result = qbench_cli(
        "run", "--models", "fourier,reup", "--seeds", "0", "--limit", "8", "--jobs", "1"
    )
    assert result.returncode == 0, result.stderr
    assert "tasks, 1 at a time, results in runs/glyphs-linf-v1-first8" in result.stderr
    assert "running: 100%" in result.stderr  # plain lines where there is no terminal
    first, _, last = result.stdout.partition("new images and certificates follow")
    assert "fourier" in first  # a table before the certificates, and one with them
    assert "confirming: 100%" in result.stderr
    assert "fourier" in last
    board = tmp_path / "runs" / "glyphs-linf-v1-first8" / "leaderboard"
    page = (board / "README.md").read_text()
    for figure in board.glob("figures/*.png"):
        assert f"figures/{figure.name}" in page
    assert len(list(board.glob("figures/*.png"))) >= 4

    assert (
        "qbench run --models fourier,reup --seeds 0 --limit 8 --jobs 1" in page
    )  # how to reproduce it, as it was typed
    added = qbench_cli("leaderboard", "add", "runs/glyphs-linf-v1-first8", "--archive", "archive")
    assert added.returncode == 0, added.stderr
    assert "archive/glyphs-linf-v1: fourier, reup" in added.stdout
    built = qbench_cli("leaderboard", "build", "archive", "--out", "published")
    assert built.returncode == 0, built.stderr
    for name in ("README.md", "leaderboard.json"):
        assert (tmp_path / "published" / name).read_bytes() == (board / name).read_bytes()
    run = qbench_cli("verify", "runs/glyphs-linf-v1-first8")
    assert run.returncode == 0, run.stdout
    assert "no problems" in run.stdout
    # an archive is held to the whole of the protocol
    assert "the protocol has 200 test images" in qbench_cli("verify", "archive").stdout
    table = qbench_cli("export", "archive", "--format", "csv").stdout
    budgets = [getattr(record.task, "eps", None) for record in RunStore(board.parent).records()]
    rows = [len(eps) if isinstance(eps, list) else 1 for eps in budgets]  # radii: one a budget
    assert len(table.splitlines()) == 1 + sum(rows)


@pytest.mark.slow
def test_a_second_run_in_a_folder_adds_its_models(qbench_cli, tmp_path):
    small = ("--seeds", "0", "--limit", "6", "--eps", "0.1", "--attacks", "fgsm", "--jobs", "1",
             "--no-certify")  # fmt: skip
    for models in ("fourier", "fourier-at"):
        result = qbench_cli("run", "--models", models, *small, "--out", "o")
        assert result.returncode == 0, result.stderr
    page = json.loads((tmp_path / "o" / "leaderboard" / "leaderboard.json").read_text())
    assert {row["model"] for row in page["rows"]} == {"fourier", "fourier-at"}
    (matrix,) = page["transfer"]
    pairs = {(entry["source"], entry["target"]) for entry in matrix["entries"] if entry["by_seed"]}
    assert {("fourier", "fourier-at"), ("fourier-at", "fourier")} <= pairs
    whole = qbench_cli("run", "--models", "fourier,fourier-at", *small, "--out", "whole")
    assert whole.returncode == 0, whole.stderr
    other = json.loads((tmp_path / "whole" / "leaderboard" / "leaderboard.json").read_text())
    assert page["rows"] == other["rows"]
    assert page["transfer"] == other["transfer"]


def test_json_output_is_json(qbench_cli):
    result = qbench_cli(
        "run", "--models", "fourier", "--seeds", "0", "--limit", "4", "--eps", "0.1",
        "--jobs", "1", "--json", "--attacks", "fgsm",
    )  # fmt: skip
    summary = json.loads(result.stdout)
    # training, attack, and at least a bound, radii and the checks
    assert set(summary["records"]) == {"done"}
    assert summary["records"]["done"] >= 5
    assert summary["leaderboard"]["rows"][0]["model"] == "fourier"


def test_a_dry_run_prints_the_cost_and_does_nothing(qbench_cli, tmp_path):
    asked = ("--models", "all", "--attacks", "pgd,fgsm", "--seeds", "0", "--dry-run", "--json")
    result = qbench_cli("run", *asked)
    assert result.returncode == 0, result.stderr
    plan = {row["task"]: row for row in json.loads(result.stdout)["plan"]}
    n = len(load_registry(()).all("model"))
    assert plan["training"]["tasks"] == n
    assert plan["attack"]["tasks"] == n * 2 * 3
    assert plan["transfer"]["tasks"] == n * (n - 1) * 2
    assert plan["radii"]["tasks"] > n
    # PGD: 40 gradients an image, FGSM: 1
    assert plan["attack"]["images differentiated"] == n * 3 * 200 * 41
    plain = qbench_cli("run", "--models", "convnet", "--dry-run", "--json", "--attacks", "pgd")
    plan = {row["task"]: row for row in json.loads(plain.stdout)["plan"]}
    assert plan["training"]["tasks"] == 5  # every seed of the protocol
    assert list(tmp_path.iterdir()) == []
    assert "training" in qbench_cli("run", "--models", "convnet", "--dry-run").stdout


def test_a_dry_run_says_which_training_will_not_end_in_time(qbench_cli):
    asked = ("--models", "fourier,amplitude", "--seeds", "0", "--attacks", "fgsm", "--retrain")
    late = qbench_cli("run", *asked, "--dry-run", "--time-limit", "0.05").stdout
    for name in ("fourier", "amplitude"):
        assert re.search(rf"training of {name} takes about \d+ s: give a larger --time-limit", late)
    assert "larger --time-limit" not in qbench_cli("run", *asked, "--dry-run").stdout
    about = qbench_cli("run", *asked, "--dry-run", "--time-limit", "0.05", "--json").stdout
    assert set(json.loads(about)["over_time_limit"]) == {"fourier", "amplitude"}


@pytest.mark.slow
def test_certificates_join_the_attacks_of_a_run(qbench_cli, tmp_path):
    small = ("--models", "fourier", "--seeds", "0", "--limit", "6", "--jobs", "1", "--out", "here")
    result = qbench_cli("certify", *small, "--certifiers", "fourier-linear", "--norm", "both")
    assert result.returncode == 0, result.stderr
    attacked = qbench_cli("run", *small, "--attacks", "fgsm", "--eps", "0.1")
    assert attacked.returncode == 0, attacked.stderr
    again = qbench_cli("certify", *small, "--certifiers", "fourier-linear", "--json")
    assert json.loads(again.stdout)["compared"] >= 6
    page = (tmp_path / "here" / "leaderboard" / "README.md").read_text()
    assert "Certified and empirical robustness" in page


def test_a_certificate_that_an_attack_contradicts_stops_the_run(qbench_cli, tmp_path):
    (tmp_path / "wrong.py").write_text(WRONG)
    arguments = (
        "run", "--plugin", "wrong.py", "--models", "fourier", "--attacks", "pgd", "--eps", "0.2",
        "--seeds", "0", "--limit", "6", "--jobs", "1",
    )  # fmt: skip
    result = qbench_cli(*arguments)
    assert result.returncode == 2
    assert "fourier seed 0: boastful certifies image" in result.stderr
    assert "in linf, and pgd breaks it at 0.2" in result.stderr
    assert all(len(line) < 300 for line in result.stderr.splitlines())
    assert "Traceback" not in result.stderr
    folder = "runs/glyphs-linf-v1-first6"
    page = (tmp_path / folder / "leaderboard" / "README.md").read_text()
    assert "boastful" not in page.split("## How")[0]  # everything else is reported
    refused = qbench_cli("leaderboard", "add", folder, "--archive", "archive")
    assert "boastful certifies image" in complaint(refused)
    # mended, and said so, it blocks nothing any more
    mended = WRONG.replace("9.0", "0.0")
    (tmp_path / "wrong.py").write_text(mended)
    again = qbench_cli(*arguments)
    assert again.returncode == 0, again.stderr
    assert qbench_cli("leaderboard", "add", folder, "--archive", "archive").returncode == 0


WRONG = """
import torch
from qbench.hookspecs import hookimpl
from qbench.interfaces import Radii
from qbench.specs import CertifierSpec


class Boastful:
    def __call__(self, model, x, y, perturbations, generator):
        right = model(x).argmax(1) == y
        return Radii(torch.where(right, 9.0, 0.0).double())


@hookimpl
def qbench_certifiers():
    yield CertifierSpec(
        name="boastful", description="claims what nobody proved", factory=f"{__name__}:Boastful",
        structures=("sine-network",), source="none", norms=("linf",),
    )
"""


def test_training_and_loading_what_was_trained(qbench_cli, tmp_path):
    arguments = ("train", "--models", "fourier", "--seeds", "3", "--out", "zoo", "--jobs", "1")
    result = qbench_cli(*arguments)
    assert result.returncode == 0, result.stderr
    assert "1 sets of weights in zoo" in result.stdout
    assert "fourier seed 3, epoch 20: test accuracy" in result.stderr
    # the same recipe and seed as the zoo that ships: on this kind of processor the same weights
    mine = qbench.load_model("fourier", seed=3, zoo=tmp_path / "zoo").state_dict()
    shipped = qbench.load_model("fourier", seed=3).state_dict()
    for name, value in shipped.items():
        torch.testing.assert_close(mine[name], value, rtol=1e-3, atol=1e-4)
    assert Zoo(tmp_path / "zoo").seeds("fourier") == [3]
    other = qbench.load_model("fourier", seed=2).state_dict()
    assert fingerprint(mine) != fingerprint(other)


def test_a_picture_of_a_data_set(qbench_cli, tmp_path):
    result = qbench_cli("sheet", "glyphs", "sheet.png")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


LISTS = ["models", "attacks", "certifiers", "datasets", "engines", "protocols", "plugins"]


@pytest.mark.parametrize("command", LISTS)
def test_lists_in_words_and_json(qbench_cli, command):
    plain, as_json = qbench_cli(command), qbench_cli(command, "--json")
    assert plain.returncode == as_json.returncode == 0
    rows = json.loads(as_json.stdout)
    assert max(map(len, plain.stdout.splitlines())) <= 80
    for row in rows:
        assert row["name"] in plain.stdout


@pytest.mark.parametrize("arguments", [["--help"], *[[name] for name in LISTS]])
def test_nothing_heavy_is_imported_to_list(qbench_cli, arguments, tmp_path):
    code = (
        "import sys; from qbench.cli import cli\n"
        f"cli.main({arguments!r}, standalone_mode=False)\n"
        f"sys.exit(sorted(set({HEAVY!r}) & set(sys.modules)) or 0)"
    )
    import subprocess
    import sys

    started = time.monotonic()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert time.monotonic() - started < 60


def test_help_teaches_every_command(qbench_cli):
    top = qbench_cli("--help").stdout
    for command in ("run", "leaderboard", "train", "sheet", "verify", "bench", "hardware", *LISTS):
        assert f"\n  {command} " in top
        page = qbench_cli(command, "--help").stdout
        assert page.startswith(f"Usage: qbench {command}")
    assert "Examples:" in qbench_cli("run", "--help").stdout


def complaint(result) -> str:
    """The one line of an error a user can mend."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.lower().startswith("error:")]
    return line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--models", "reupp"], "unknown model 'reupp': did you mean reup"),
        (["--models", "convnet,nothing*"], "unknown model 'nothing*'"),
        (["--attacks", "pdg"], "unknown attack 'pdg': did you mean pgd"),
        (
            ["--protocol", "glyph-linf"],
            "unknown protocol 'glyph-linf': did you mean glyphs-linf-v1",
        ),
        (["--attacks", "pgd:stepz=3"], "unknown parameter of pgd 'stepz': did you mean step"),
        (
            ["--norm", "l2"],
            "protocol 'glyphs-linf-v1' has no budgets in l2: give some, such as --eps 0.5,1,2",
        ),
        (["--eps", "-0.1"], "ε must be a number of at least 0, got -0.1"),
        (["--eps", "nan"], "'nan' holds a value that is not a finite number"),
        (["--eps", "a"], "'a' is not a list of numbers, such as 0.05,0.1"),
        (["--eps", ","], "an empty list of numbers"),
        (["--seeds", "-1"], "seeds must be at least 0"),
        (["--seeds", "x"], "'x' is not a list of seeds"),
        (["--limit", "0"], "0 is not in the range"),
        (["--jobs", "0"], "0 is not in the range"),
        (["--plugin", "missing.py"], "plugin missing.py does not load: No such file"),
        (["--out", "/proc/nowhere"], "cannot write to /proc/nowhere"),
    ],
)
def test_bad_input_is_one_line(qbench_cli, arguments, expected):
    defaults = {"--models": "convnet", "--seeds": "0", "--limit": "4", "--jobs": "1"}
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    call = [part for pair in (defaults | given).items() for part in pair]
    assert expected in complaint(qbench_cli("run", *call))


@pytest.mark.slow
def test_a_disk_that_fills_up_is_one_line_and_nothing_is_lost(qbench_cli, qbench_process, tmp_path):
    run = (
        "run",
        "--models",
        "convnet",
        "--seeds",
        "0",
        "--limit",
        "40",
        "--jobs",
        "1",
        "--no-certify",
        "--out",
        "o",
    )
    # no file may grow beyond 150 kB: weights fit, all adversarial images do not
    result = qbench_process(*run, file_size=150_000)
    assert "results.sqlite" in complaint(result)
    assert "free space" in complaint(result)
    assert len(RunStore(tmp_path / "o").identities()) >= 1
    assert not list(tmp_path.rglob("*.tmp"))
    assert qbench_cli(*run).returncode == 0


def test_a_damaged_record_is_done_again(qbench_cli, tmp_path):
    arguments = (
        "run", "--models", "fourier", "--seeds", "0", "--limit", "4", "--eps", "0.1", "--jobs", "1",
        "--out", "o", "--attacks", "fgsm", "--no-certify",
    )  # fmt: skip
    assert qbench_cli(*arguments).returncode == 0
    before = RunStore(tmp_path / "o").records()
    with sqlite3.connect(tmp_path / "o" / "results.sqlite") as file:
        file.execute("UPDATE records SET record = substr(record, 1, 50)")
    assert "is damaged" in complaint(qbench_cli("leaderboard", "build", "o"))
    assert qbench_cli(*arguments).returncode == 0
    assert [r.metrics for r in RunStore(tmp_path / "o").records()] == [r.metrics for r in before]
    (tmp_path / "o" / "results.sqlite").write_bytes(b"no database " * 500)
    assert "move the file away" in complaint(qbench_cli(*arguments))


def test_plugins_that_clash_or_break_are_one_line(qbench_cli, tmp_path):
    text = (
        "from qbench.hookspecs import hookimpl\nfrom qbench.specs import AttackSpec\n@hookimpl\n"
        "def qbench_attacks():\n    yield AttackSpec(name='pgd', description='mine', factory='x:y',"
        " norms=('linf',), gradient=False)\n"
    )
    (tmp_path / "other_pgd.py").write_text(text)
    line = complaint(qbench_cli("attacks", "--plugin", "other_pgd.py"))
    assert "two plugins provide the attack 'pgd': 'qbench_attacks' and 'other_pgd'" in line
    assert (
        "qbench_attacks' and 'other_pgd'"
        in qbench_cli("plugins", "--plugin", "other_pgd.py").stderr
    )
    (tmp_path / "broken.py").write_text("import nothing_like_this")
    assert "ModuleNotFoundError" in complaint(qbench_cli("models", "--plugin", "broken.py"))


def test_debug_shows_where(qbench_cli):
    result = qbench_cli("run", "--models", "reupp", "--debug")
    assert result.returncode == 2
    assert "Traceback" in result.stderr


def test_an_unknown_command_is_exit_2(qbench_cli):
    assert qbench_cli("rum").returncode == 2
    assert qbench_cli("run", "--no-such-option").returncode == 2


def test_the_parameters_of_an_attack(qbench_cli):
    plain = qbench_cli("attacks", "pgd").stdout
    assert max(map(len, plain.splitlines())) <= 80
    assert re.search(r"^steps +40 +Gradient steps a start\.$", plain, re.M)
    rows = {
        row["parameter"]: row for row in json.loads(qbench_cli("attacks", "pgd", "--json").stdout)
    }
    assert rows["relative_step"]["default"] == 2.5
    assert "qbench attacks NAME" in qbench_cli("attacks").stdout
    shown = plain.split("as in: qbench ")[1].split()
    run = qbench_cli(*shown, "--models", "convnet", "--seeds", "0", "--limit", "2", "--dry-run")
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    "command", ["run", "certify", "leaderboard", "check", "plugins", "hardware"]
)
def test_help_fits_a_terminal(qbench_cli, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, qbench_cli(command, "--help").stdout.splitlines())) <= 80


def test_another_norm_has_a_board_of_its_own(qbench_cli, tmp_path):
    small = ("--models", "fourier,fourier-at", "--seeds", "0", "--limit", "6", "--jobs", "1",
             "--no-certify")  # fmt: skip
    attacks = ("--attacks", "pgd,fgsm,linf-only", "--plugin", "linf_only.py")
    (tmp_path / "linf_only.py").write_text(LINF_ONLY)
    result = qbench_cli("run", *small, *attacks, "--norm", "l2", "--eps", "0.5,1")
    assert result.returncode == 0, result.stderr
    assert "Worst ℓ2 ε=0.5" in result.stdout
    assert "linf-only cannot be bounded in l2" in " ".join(result.stdout.split())
    folder = tmp_path / "runs" / "glyphs-linf-v1-l2-first6"
    done = [r for r in RunStore(folder).results().records if r.status == "done"]
    attacked = [r for r in done if r.task.kind == "attack"]
    assert {(r.task.norm, r.task.eps) for r in attacked} == {("l2", 0.5), ("l2", 1.0)}
    for record in attacked:
        distance = RunStore(folder).results().columns(record)["l2"].astype(float)
        assert (distance <= record.task.eps * (1 + 1e-6)).all()
        assert distance.max() > 0.4  # and not the protocol's 0.1
    assert {r.task.eps for r in done if r.task.kind == "transfer"} == {0.5}
    page = json.loads((folder / "leaderboard" / "leaderboard.json").read_text())
    assert page["about"]["norm"] == "l2"
    usual = ("run", *small, "--attacks", "fgsm", "--eps", "0.1", "--out")
    assert qbench_cli(*usual, "usual").returncode == 0
    # in the archive it is a board beside the protocol's
    for run, board in ((str(folder), "glyphs-linf-v1-l2"), ("usual", "glyphs-linf-v1")):
        added = qbench_cli("leaderboard", "add", run, "--archive", "archive")
        assert f"archive/{board}: fourier" in added.stdout
    # in one folder with the protocol's norm, neither mixes with the other
    both = qbench_cli(*usual, str(folder))
    assert both.returncode == 0, both.stderr
    assert "ℓ2" not in both.stdout
    assert sorted(p.name for p in (tmp_path / "archive").iterdir()) == [
        "glyphs-linf-v1", "glyphs-linf-v1-l2",
    ]  # fmt: skip


LINF_ONLY = """
from qbench.hookspecs import hookimpl
from qbench.specs import AttackSpec


@hookimpl
def qbench_attacks():
    yield AttackSpec(
        name="linf-only", description="for one norm", factory="linf_only:make", norms=("linf",),
        gradient=False,
    )


def make():
    return lambda model, x, y, threat_model, generator: x
"""


def test_clean_accuracy_stays_where_no_attack_was_done(qbench_cli, tmp_path):
    (tmp_path / "no_gradient.py").write_text(NO_GRADIENT)
    result = qbench_cli(
        "run", "--plugin", "no_gradient.py", "--models", "black-box", "--seeds", "0", "--limit",
        "4", "--eps", "0.1", "--jobs", "1", "--out", "o",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    results = RunStore(tmp_path / "o").results()
    (training,) = [r for r in results.records if r.task.kind == "training"]
    (row,) = json.loads((tmp_path / "o/leaderboard/leaderboard.json").read_text())["rows"]
    assert f"{training.metrics.test_accuracy[-1]:.3f} [" in result.stdout
    assert "clean accuracy is the training's" in result.stdout
    assert row["rank"] is None


NO_GRADIENT = """
import torch
from qbench.hookspecs import hookimpl
from qbench.specs import ModelSpec, Recipe


@hookimpl
def qbench_models():
    yield ModelSpec(
        name="black-box", description="scores in NumPy", factory="no_gradient:BlackBox",
        family="classical", structure="linear", differentiable=False, recipe=Recipe(epochs=1),
    )


class BlackBox(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(256, 4)

    def forward(self, x):
        scores = self.linear(x)
        return scores if self.training else torch.from_numpy(scores.detach().numpy())
"""


def test_failures_name_the_attack_the_model_the_seed_and_the_budget(qbench_cli, tmp_path):
    (tmp_path / "bad_attack.py").write_text(
        LINF_ONLY.replace("linf_only", "bad_attack")
        .replace("linf-only", "bad")
        .replace("generator: x", "generator: x + 1")
    )
    result = qbench_cli(
        "run", "--plugin", "bad_attack.py", "--models", "fourier", "--attacks", "bad", "--seeds",
        "0", "--limit", "4", "--eps", "0.1", "--jobs", "1", "--no-certify",
    )  # fmt: skip
    assert result.returncode == 1
    assert "\nnew images follow\n" in result.stdout  # and no certificates
    lines = [line for line in result.stderr.splitlines() if line.startswith("failed: ")]
    assert [line.split(": ")[1] for line in lines] == ["attack of fourier seed 0 under bad(0.1)"]
