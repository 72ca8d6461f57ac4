"""Records: what a schema can refuse, and what names a result."""

import json

import pytest
from pydantic import ValidationError
from small_results import SHA, attack_id, result

from qbench.records.identity import TransferId, Version
from qbench.records.record import Record
from qbench.records.schema import canonical_sha256


def test_a_record_is_one_line_that_reads_back():
    record = result().record
    line = record.to_json()
    assert "\n" not in line
    assert Record.from_json(line) == record
    assert Record.from_json(line).id == record.id


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"done"', '"fine"', "status"),
        ('"robust_accuracy":0.5', '"robust_accuracy":1.5', "less than or equal to 1"),
        ('"wall_s":1.0', '"wall_s":"1.0"', "valid number"),
        ('"wall_s":1.0', '"wall_s":NaN', "finite"),
        ('"wall_s":1.0', '"wall_s":1.7e308', "less than"),
        ('"wall_s":1.0', '"wall_s":1.0,"forward":-1', "greater than or equal to 0"),
        ('"name":"m"', '"name":"../m"', "pattern"),
        ('"label":"pgd"', '"label":"pgd\\u001b[31m"', "invisible"),
        ('"label":"pgd"', '"label":"\\u202epgd"', "invisible"),
        ('"label":"pgd",', "", "without a label"),
        ('"label":"pgd"', '"label":"pgd","label":"pgd"', "stands twice"),
        ('"label":"pgd"', '"label":"pgd","more":1', "Extra inputs"),
        (f'"outcomes":"{SHA}",', "", "outcomes missing"),
        ('"status":"done"', '"status":"done","reason":"x"', "no reason"),
        ('"status":"done"', '"status":"failed"', "no reason"),
        ('"kind":"attack"', '"kind":"training"', "Field required"),
        ('"kind":"attack",', "", "kind"),
    ],
)
def test_what_no_record_may_say(old, new, complaint):
    line = result(outcomes=SHA).record.to_json()
    assert old in line
    with pytest.raises(ValueError, match=complaint):
        Record.from_json(line.replace(old, new))


def test_nesting_and_nonsense_are_refused():
    for line in ("[" * 100_000, "{}", "", "null", '"x"', "1e999"):
        with pytest.raises((ValueError, TypeError)):
            Record.from_json(line)


def test_numbers_are_never_strings():
    with pytest.raises(ValidationError):
        result(metrics={"clean_accuracy": "1", "adversarial_accuracy": 1, "robust_accuracy": 1})


def test_the_identity_is_what_was_measured_and_nothing_else():
    record = result().record
    assert record.id == attack_id().id
    assert result(weights="b" * 64, label="other").record.id == record.id
    for changed in (
        attack_id(seed=1),
        attack_id(eps=0.2),
        attack_id(norm="l2"),
        attack_id(attack=attack_id().attack.model_copy(update={"params": {"steps": 41}})),
    ):
        assert changed.id != record.id


def test_a_transfer_knows_the_attack_that_made_its_images():
    made = attack_id("source", seed=3)
    about = {k: getattr(made, k) for k in ("protocol", "data", "attack", "norm", "eps")}
    target = attack_id("target", seed=3).model
    moved = TransferId(**about, model=target, source=Version(name="source"))
    assert moved.made_by == made


def test_keys_do_not_depend_on_order():
    assert canonical_sha256({"a": 1, "b": [2]}) == canonical_sha256({"b": [2], "a": 1})
    assert canonical_sha256({"a": 1}) != canonical_sha256({"a": 2})
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_sha256({"a": float("nan")})
    assert json.loads(result().record.to_json())["task"]["kind"] == "attack"
