"""No part of a token is left in a message, however it is written there."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from qbench.errors import QbenchError
from qbench_engines.ibm.messages import translated
from qbench_engines.ibm.scrubbing import HIDDEN, LONGEST, scrubbed

SECRET = "kX9-qR7_vB2mT5/wZ8pL4nH6jD3fG1sA0cE+uY7iO2tQ4r"
WAYS = {
    "plain": SECRET,
    "percent": quote(SECRET, safe=""),
    "percent of all": "".join(f"%{ord(c):02x}" for c in SECRET),
    "percent twice": quote(quote(SECRET, safe=""), safe=""),
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "base64 within": base64.b64encode(f"apikey:{SECRET}:x".encode()).decode(),
    "base64 for addresses": base64.urlsafe_b64encode(f"ab{SECRET}".encode()).decode(),
    "hexadecimal": SECRET.encode().hex(),
    "json": json.dumps(SECRET).replace("/", "\\u002f"),
    "lines": "\n".join(SECRET[i : i + 7] for i in range(0, len(SECRET), 7)),
    "escaped lines": "\\n".join(SECRET[i : i + 9] for i in range(0, len(SECRET), 9)),
    "cut off": SECRET[:30],
    "the end": SECRET[-20:],
}


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("QISKIT_IBM_TOKEN", SECRET)
    monkeypatch.setattr("qbench_engines.ibm.scrubbing.ACCOUNT_FILE", tmp_path / "none.json")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", [0, 100, LONGEST - 40, LONGEST - 20, LONGEST - 5])
def test_a_token_is_hidden_in_every_way_to_write_it(way, place):
    text = "." * place + f" {WAYS[way]} and more " + "." * 500
    found = scrubbed(text)
    secret = WAYS[way][12:-8] if way == "base64 within" else WAYS[way]  # less what is no token
    for start in range(len(secret) - 7):
        assert secret[start : start + 8] not in found
    assert len(found) <= LONGEST + 3
    assert "\n" not in found
    assert HIDDEN in found or place > LONGEST - 10


def test_other_words_stay():
    text = "the instance crn:v1:bluemix:public was not found, kX9-qR7 neither"
    assert scrubbed(text) == text


def test_a_saved_token_is_hidden_too(monkeypatch, tmp_path):
    path = tmp_path / "accounts.json"
    path.write_text(json.dumps({"default": {"token": "saved-" + "s3cr3t" * 4}}))
    monkeypatch.setattr("qbench_engines.ibm.scrubbing.ACCOUNT_FILE", path)
    assert scrubbed("no saved-" + "s3cr3t" * 4) == f"no {HIDDEN}"


def test_a_long_refusal_keeps_what_to_do():
    from qiskit_ibm_runtime.accounts.exceptions import InvalidAccountError

    with (
        pytest.raises(QbenchError, match=r"\.\.\.\): check the token") as caught,
        translated("try"),
    ):
        raise InvalidAccountError("x" * 390 + SECRET + "y" * 600)
    assert not any(SECRET[i : i + 8] in str(caught.value) for i in range(len(SECRET) - 7))
