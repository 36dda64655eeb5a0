"""Calls other apps and keeps state through the sidecar on localhost, in plain HTTP.

With the Dapr SDK for Python this file is DaprClient().invoke_method(...) and
.save_state(...); it is written out here so that the example needs nothing but
FastAPI.
"""

import json
import os
import urllib.error
import urllib.request
from typing import Any, Optional

BASE = "http://127.0.0.1:" + os.getenv("DAPR_HTTP_PORT", "3500")
TIMEOUT = os.getenv("CALL_TIMEOUT", "5s")


class CallError(Exception):
    """An answer that was not a success. code is Dapr's errorCode, empty if
    the app itself answered."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(f"{code or status}: {message}")
        self.status, self.code, self.message = status, code, message


def invoke(app_id: str, method: str, body: dict) -> str:
    """The path form, as invoke_method sends it."""
    return _post(f"/v1.0/invoke/{app_id}/method/{method}", body)


def post(app_id: str, path: str, body: dict) -> str:
    """The header form: any path, and dapr-app-id says whose."""
    return _post(path, body, app_id)


def advice(error: CallError) -> str:
    """Turns the three failures of the lesson's table into what to do."""
    if "couldn't find service" in error.message:
        return "pending: billing-service is not running; start it and charge again"
    if "connection refused" in error.message:
        return "pending: billing-service runs, but its app cannot be reached; check its --app-port"
    if "deadline" in error.message.lower():
        return "pending: billing-service took too long; it may have charged, so look before charging again"
    return f"pending: {error}"


def save_state(store: str, key: str, value: dict) -> None:
    _post(f"/v1.0/state/{store}", [{"key": key, "value": value}])


def get_state(store: str, key: str) -> Optional[dict]:
    """What was saved; None if there is nothing."""
    text = _send(urllib.request.Request(BASE + f"/v1.0/state/{store}/{key}"))
    return json.loads(text) if text else None


def _post(path: str, body: Any, app_id: Optional[str] = None) -> str:
    headers = {"Content-Type": "application/json", "pillion-timeout": TIMEOUT}
    if app_id:
        headers["dapr-app-id"] = app_id
    return _send(urllib.request.Request(BASE + path, json.dumps(body).encode(), headers, method="POST"))


def _send(request: urllib.request.Request) -> str:
    try:
        with urllib.request.urlopen(request) as response:
            return response.read().decode()
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")
        try:
            said = json.loads(text)
            raise CallError(error.code, said["errorCode"], said["message"]) from None
        except (ValueError, KeyError, TypeError):
            raise CallError(error.code, "", text) from None
