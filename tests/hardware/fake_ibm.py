"""IBM Quantum as an HTTP server: accounts, instances, a device, and jobs that run without noise.

qiskit-ibm-runtime runs unchanged on top: `redirect` sends all its connections here, as plain HTTP
with the host they were meant for. Faults are scripted: what happens to the next request of a kind.
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

from fake_executor import carried_out
from qiskit_ibm_runtime.fake_provider import FakeLagosV2

TOKEN, OTHER_TOKEN = "a-token-that-nobody-may-see", "the-token-of-another-account"
_CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/{}::"
CRN, SECOND_CRN, OTHER_CRN = (_CRN.format(place) for place in ("1:2", "1:9", "7:8"))
ACCOUNTS = {TOKEN: (CRN, SECOND_CRN), OTHER_TOKEN: (OTHER_CRN,)}
DEVICE, MOCK = "ibm_lagos", "mock_lagos"  # the mock one takes dry runs


@dataclass
class Fault:
    """What happens to the next request that matches, once.

    `action`: `drop` closes the connection; `kill` kills the process `FakeIbm.pid` and closes it;
    a number answers with that status; `pass` does nothing. `after` acts once the request took
    effect.
    """

    method: str
    path: str
    action: Any
    after: bool = False


@dataclass
class FakeIbm:
    """The server's state; `with` serves it on a free port of this machine."""

    faults: list[Fault] = field(default_factory=list)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)
    status: str = "Completed"
    finished: Any = "2026-03-01T12:00:00.000Z"
    dry_runs: bool = False
    pid: int = 0
    port: int = 0

    def __enter__(self) -> FakeIbm:
        folder, named = Path(FakeLagosV2.dirname), {"backend_name": DEVICE}
        self.configuration = json.loads((folder / FakeLagosV2.conf_filename).read_bytes()) | named
        self.properties = json.loads((folder / FakeLagosV2.props_filename).read_bytes()) | named
        handler = type("Bound", (_Handler,), {"ibm": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def submitted(self) -> list[str]:
        """The tag of every job that was accepted."""
        return [job["tags"][0] for job in self.jobs.values()]

    def fault(self, method: str, path: str, after: bool) -> Any:
        """The action of the next fault for a request, which is then used up."""
        for fault in self.faults:
            if fault.method == method and fault.after == after and re.search(fault.path, path):
                self.faults.remove(fault)
                return fault.action
        return None

    def answer(self, method: str, headers: Any, path: str, query: Any, body: bytes) -> Any:
        """JSON for a request, or (status, JSON)."""
        host = headers["Host"]
        if path == "/identity/token":
            (token,) = parse_qs(body.decode()).get("apikey", [""])
            if token not in ACCOUNTS:
                return 400, {"errorMessage": f"no such key {body.decode()}"}
            return _bearer(token)
        if host.startswith("api.global-search"):
            item = {"name": "mine", "tags": [], "service_plan_unique_id": "p"}
            crns = ACCOUNTS[_token(headers["Authorization"])]
            return {"items": [{**item, "crn": c, "doc": {"extensions": {"a": 1}}} for c in crns]}
        if host.startswith("globalcatalog"):
            return {
                "overview_ui": {"en": {"display_name": "Open"}},
                "metadata": {"pricing": {"type": "free"}},
            }
        return self.quantum(
            method, path.removeprefix("/api/v1"), query, body, headers.get("Service-CRN")
        )

    def quantum(self, method: str, path: str, query: Any, body: bytes, instance: str | None) -> Any:
        """The runtime's own API, as one instance sees it."""
        if path == "/backends":
            mocks = [{"name": MOCK, "class": "mock"}] if self.dry_runs else []
            return {"devices": [{"name": DEVICE}, *mocks]}
        if path.startswith("/backends/") and path.endswith("/configuration"):
            return self.configuration | {"backend_name": path.split("/")[2]}
        if path.startswith("/backends/") and path.endswith("/properties"):
            return self.properties
        if path.startswith("/backends/") and path.endswith("/status"):
            return {"state": True, "status": "active", "length_queue": 0}
        if path == "/instances/usage":
            return {"usage_remaining_seconds": 600, "usage_limit_reached": False}
        if path.startswith("/sessions"):
            return {"id": "batch-1"}
        if (method, path) == ("POST", "/jobs"):
            return self.accept(body, instance)
        if path == "/jobs":
            wanted = set(query.get("tags", []))
            own = [job for job in self.jobs.values() if job["instance"] == instance]
            found = [_public(job) for job in own if wanted <= set(job["tags"])]
            return {"jobs": found, "count": len(found), "limit": 200, "offset": 0}
        _, _, job_id, *rest = path.split("/")
        if job_id not in self.jobs or self.jobs[job_id]["instance"] != instance:
            return 404, {"error": {"message": "Job not found", "code": 1291}}
        job = self.jobs[job_id]
        if rest == ["results"]:
            return job["results"]
        if rest == ["metrics"]:
            return {
                "usage": {
                    "quantum_seconds": 3,  # before qiskit-ibm-runtime 0.50
                    "qpu_charge_time_seconds": 3,
                    "status": "complete",
                },
                "timestamps": {"finished": self.finished},
            }
        return _public(job)

    def accept(self, body: bytes, instance: str | None) -> Any:
        """Take a job and run it."""
        payload = json.loads(body)
        job_id = f"job-{len(self.jobs) + 1}"
        failing = bool(self.failing & {"next"})
        self.failing.discard("next")
        options, results = carried_out(body, len(self.jobs) + 1)
        self.jobs[job_id] = {
            "id": job_id,
            "instance": instance,
            "device": payload["backend"],
            "program": payload["program_id"],
            "cost": payload.get("cost"),
            "tags": payload["tags"],
            "session": payload.get("session_id"),
            "options": options,
            "status": "Failed" if failing else self.status,
            "results": "" if failing else results,
        }
        return {"id": job_id, "backend": payload["backend"]}


def _public(job: dict[str, Any]) -> dict[str, Any]:
    failed = job["status"] == "Failed"
    reason = {"reason": "the fridge is warm", "reason_code": 1} if failed else {}
    return {
        "id": job["id"],
        "backend": job["device"],
        "status": job["status"],
        "state": {"status": job["status"], **reason},
        "program": {"id": job["program"]},
        "tags": job["tags"],
        "created": "2026-03-01T11:59:00Z",
    }


def _bearer(account: str) -> dict[str, Any]:
    now = int(time.time())
    parts = ({"alg": "none"}, {"exp": now + 3600, "iat": now, "sub": account}, {})
    token = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts
    )
    return {"access_token": token, "refresh_token": "r", "expires_in": 3600, "expiration": now}


def _token(authorization: str) -> str:
    claims = authorization.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["sub"])


class _Handler(BaseHTTPRequestHandler):
    ibm: FakeIbm
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url, method = urlparse(self.path), self.command
        self.ibm.requests.append(f"{method} {url.path}")
        if self._act(self.ibm.fault(method, url.path, after=False)):
            return
        found = self.ibm.answer(method, self.headers, url.path, parse_qs(url.query), body)
        if self._act(self.ibm.fault(method, url.path, after=True)):
            return
        status, told = found if isinstance(found, tuple) else (200, found)
        self._reply(status, told if isinstance(told, str) else json.dumps(told, default=str))

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve  # noqa: N815

    def _act(self, action: Any) -> bool:
        if action in (None, "pass"):
            return False
        if isinstance(action, int):
            self._reply(action, json.dumps({"error": {"message": "busy", "code": action}}))
            return True
        if action == "kill":
            os.kill(self.ibm.pid, signal.SIGKILL)
        self.close_connection = True
        return True

    def _reply(self, status: int, text: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass
