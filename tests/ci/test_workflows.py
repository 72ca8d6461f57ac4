"""The workflows: they may do no more than they must, and every step is a script that runs here."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in FOLDER.glob("*.yml")}
JOBS = [
    pytest.param(workflow, name, job, id=f"{workflow}-{name}")
    for workflow, content in sorted(WORKFLOWS.items())
    for name, job in content["jobs"].items()
]
# Whoever may write what; every other job reads the repository and no more.
ALLOWED = {
    ("pages", "deploy"): {"pages": "write", "id-token": "write"},
    ("release", "publish"): {"contents": "read", "id-token": "write"},
    ("release", "attach"): {"contents": "write"},
}
# What is short enough to stand in a workflow.
SHORT = ("git -C submitted worktree add", "python3 -m pip install", "gh release create")


def steps(name: str, job: str) -> list[str]:
    """The commands of a job."""
    return [step["run"] for step in WORKFLOWS[name]["jobs"][job]["steps"] if "run" in step]


def test_there_are_five():
    assert sorted(WORKFLOWS) == ["nightly", "pages", "release", "tests", "verify"]


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
def test_a_workflow_has_no_rights_of_its_own_and_runs_on_no_strangers_terms(name):
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] == {}
    triggers = workflow[True]  # YAML 1.1 reads the key "on" as a truth value
    assert not {"pull_request_target", "workflow_run", "issue_comment"} & set(triggers)


@pytest.mark.parametrize(("workflow", "name", "job"), JOBS)
def test_a_job_has_the_rights_it_needs_and_pinned_actions(workflow, name, job):
    assert job["permissions"] == ALLOWED.get((workflow, name), {"contents": "read"})
    assert job["timeout-minutes"] <= 360
    for step in job["steps"]:
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])
            if "/checkout@" in step["uses"]:
                assert step["with"]["persist-credentials"] is False
            assert "secrets." not in str(step)
        else:
            assert "${{" not in step["run"], "an expression in a command can be a command"
            script = shlex.split(step["run"])[0].removeprefix("trusted/")
            own = script.startswith(".ci/") and (ROOT / script).stat().st_mode & 0o100
            assert own or step["run"].startswith(SHORT), step["run"]


def test_whoever_runs_a_contributors_code_may_do_nothing_else():
    for name, job in WORKFLOWS["verify"]["jobs"].items():
        text = str(job)
        assert "github.token" not in text
        assert "environment" not in job
        # Only what git merged is checked out beside the trusted code, and only to be copied.
        assert ("submitted" in text) == (name == "collect")
    assert steps("verify", "contain")[-1].startswith(".ci/contain ")


@pytest.mark.slow
def test_forms_and_workflows_are_what_their_reader_expects():
    pytest.importorskip("check_jsonschema")
    for schema, files in {
        "github-workflows": FOLDER.glob("*.yml"),
        "dependabot": [ROOT / ".github" / "dependabot.yml"],
        "github-issue-config": [ROOT / ".github/ISSUE_TEMPLATE/config.yml"],
        "github-issue-forms": [
            path
            for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")
            if path.stem != "config"
        ],
        "citation-file-format": [ROOT / "CITATION.cff"],
    }.items():
        words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
        found = subprocess.run([*words, *files], capture_output=True, text=True)
        assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.slow
def test_no_weakness_is_known_of_the_workflows():
    pytest.importorskip("check_jsonschema")  # installed with it
    program = Path(sys.executable).with_name("zizmor")
    found = subprocess.run([program, "--offline", ROOT / ".github"], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
