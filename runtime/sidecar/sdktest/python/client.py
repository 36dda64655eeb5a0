"""Makes the calls that Dapr's SDK for Python makes, by HTTP or by gRPC, and prints
a line of JSON for each feature: {"feature", "error"}, error empty if it works.

    python3 client.py http|grpc

The sidecar is DAPR_HTTP_PORT and DAPR_GRPC_PORT; the apps called are HTTP_APP
and GRPC_APP, the store is STORE. For gRPC, PYTHONPATH leads to stubs made from
Dapr's own definitions.
"""

import json
import os
import sys
import time
import traceback
import types
import urllib.error
import urllib.request

HTTP = "http://127.0.0.1:" + os.environ["DAPR_HTTP_PORT"]
GRPC = "127.0.0.1:" + os.environ["DAPR_GRPC_PORT"]
HTTP_APP, GRPC_APP, STORE = os.environ["HTTP_APP"], os.environ["GRPC_APP"], os.environ["STORE"]
AGENT = "dapr-sdk-python/1.16.0"
JSON = "application/json"


def feature(name, run):
    error = ""
    try:
        run()
    except Exception:  # whatever it is, it is the result
        error = traceback.format_exc()
    print(json.dumps({"feature": name, "error": error}), flush=True)


def request(path, data=None, verb=None, **headers):
    """The SDK's HTTP client: the answer's status, headers and body."""
    headers = {"User-Agent": AGENT, "Content-Type": JSON, **headers}
    r = urllib.request.Request(HTTP + path, data, headers, method=verb or ("POST" if data else "GET"))
    try:
        with urllib.request.urlopen(r, timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers, answer.read()


def wait_for_sidecar():
    """Every DaprClient begins with it, whatever it talks afterwards."""
    until = time.monotonic() + 60
    while True:
        status, _, _ = request("/v1.0/healthz/outbound")
        if 200 <= status < 300:
            return
        assert time.monotonic() < until, status
        time.sleep(0.1)


def invoke(app, method, data=None, verb="POST"):
    """invoke_method: by HTTP, content type JSON, only 2xx will do."""
    status, headers, body = request(f"/v1.0/invoke/{app}/method/{method}", data, verb)
    if not 200 <= status < 300:
        said = json.loads(body) if body.startswith(b"{") else {}
        raise RuntimeError(f"{status} {said.get('errorCode')} {said.get('message') or body.decode()}")
    return json.loads(body)


def fails(run, *texts):
    try:
        run()
    except Exception as error:
        said = getattr(error, "details", lambda: None)() or str(error)
        for text in texts:
            assert text in said or text in str(error), f"{said!r} does not contain {text!r}"
        return
    raise AssertionError("it did not fail")


def invocations():
    body = b'{"message": "hello"}'

    def post():
        got = invoke(HTTP_APP, "echo", body)
        assert got == {"verb": "POST", "path": "/echo", "body": body.decode()}, got

    def verbs():
        for verb in ("PUT", "DELETE"):
            assert invoke(HTTP_APP, "echo", body, verb)["verb"] == verb

    feature("invoke: POST with a body", post)
    feature("invoke: GET", lambda: invoke(HTTP_APP, "echo?a=b", None, "GET")["path"] == "/echo?a=b" or fail())
    feature("invoke: PUT and DELETE", verbs)
    feature("invoke: the app's error", lambda: fails(lambda: invoke(HTTP_APP, "status/404", body), "404", "nothing here"))
    feature(
        "invoke: an app that is not there",
        lambda: fails(lambda: invoke("nobody", "echo", body), "500 ERR_DIRECT_INVOKE", "couldn't find service: nobody"),
    )

    def grpc_app():
        got = invoke(GRPC_APP, "echo", body)
        assert got == {"verb": "POST", "body": body.decode()}, got

    feature("invoke: a gRPC app", grpc_app)


def fail():
    raise AssertionError("it is not")


def http_state():
    def save(*items):
        status, _, body = request(f"/v1.0/state/{STORE}", json.dumps(list(items)).encode())
        return status, body

    def get(key):
        return request(f"/v1.0/state/{STORE}/{key}")

    def save_and_get():
        assert save({"key": "py-a", "value": {"text": "é"}})[0] == 204
        status, headers, body = get("py-a")
        assert status == 200 and json.loads(body) == {"text": "é"} and headers["ETag"], (status, body)

    def missing():
        status, _, body = get("py-missing")
        assert status == 204 and body == b"", (status, body)

    def bulk():
        status, _, body = request(f"/v1.0/state/{STORE}/bulk", b'{"keys":["py-a","py-missing"]}')
        found = {item["key"]: item.get("data") for item in json.loads(body)}
        assert status == 200 and found == {"py-a": {"text": "é"}, "py-missing": None}, (status, body)

    def etag():
        assert save({"key": "py-etag", "value": 1})[0] == 204
        tag = get("py-etag")[1]["ETag"]
        item = {"key": "py-etag", "value": 2, "etag": tag, "options": {"concurrency": "first-write"}}
        assert save(item)[0] == 204
        status, body = save(item)
        assert status == 409 and json.loads(body)["errorCode"] == "ERR_STATE_SAVE", (status, body)

    def transaction():
        save({"key": "py-gone", "value": 1})
        operations = [
            {"operation": "upsert", "request": {"key": "py-t", "value": "in"}},
            {"operation": "delete", "request": {"key": "py-gone"}},
        ]
        status, _, body = request(f"/v1.0/state/{STORE}/transaction", json.dumps({"operations": operations}).encode())
        assert status == 204, (status, body)
        assert get("py-t")[2] == b'"in"' and get("py-gone")[0] == 204

    def delete():
        status, _, body = request(f"/v1.0/state/{STORE}/py-a", verb="DELETE")
        assert status == 204 and get("py-a")[0] == 204, (status, body)

    def ttl():
        assert save({"key": "py-ttl", "value": 1, "metadata": {"ttlInSeconds": "1"}})[0] == 204
        gone(lambda: get("py-ttl")[0] == 204)

    def unknown():
        status, _, body = request("/v1.0/state/nostore", b'[{"key":"k","value":1}]')
        assert status == 400 and json.loads(body)["errorCode"] == "ERR_STATE_STORE_NOT_FOUND", (status, body)

    feature("state: save and get", save_and_get)
    feature("state: a missing key", missing)
    feature("state: bulk get", bulk)
    feature("state: ETag", etag)
    feature("state: transaction", transaction)
    feature("state: delete", delete)
    feature("state: time to live", ttl)
    feature("state: a store that is not there", unknown)


def gone(ended):
    until = time.monotonic() + 60
    while not ended():
        assert time.monotonic() < until, "it is still there"
        time.sleep(0.05)


def http_rest():
    def metadata():
        status, _, body = request("/v1.0/metadata/greeting", b"hello", "PUT", **{"Content-Type": "text/plain"})
        assert status == 204, (status, body)
        got = json.loads(request("/v1.0/metadata")[2])
        assert got["id"] == os.environ["SELF"] and got["extended"]["greeting"] == "hello", got

    def publish():
        status, _, body = request("/v1.0/publish/pubsub/topic", b"{}")
        assert status == 404 and json.loads(body)["errorCode"] == "ERR_PUBSUB_NOT_FOUND", (status, body)

    feature("metadata", metadata)
    feature("health", lambda: request("/v1.0/healthz")[0] == 204 or fail())
    feature("another building block", publish)
    feature("shutdown", lambda: request("/v1.0/shutdown", b"", "POST")[0] == 204 or fail())


def over_grpc():
    import grpc
    from dapr.proto.common.v1 import common_pb2 as common
    from dapr.proto.runtime.v1 import dapr_pb2, invoke_pb2, metadata_pb2, pubsub_pb2, state_pb2
    from dapr.proto.runtime.v1 import dapr_pb2_grpc as stubs
    from google.protobuf.any_pb2 import Any

    api = types.SimpleNamespace()  # Dapr's messages stand in several files
    for part in (dapr_pb2, invoke_pb2, metadata_pb2, pubsub_pb2, state_pb2):
        vars(api).update(vars(part))

    dapr = stubs.DaprStub(grpc.insecure_channel(GRPC))

    def save(*items):
        dapr.SaveState(api.SaveStateRequest(store_name=STORE, states=items))

    def item(key, value=b"", etag=None, **metadata):
        tag = common.Etag(value=etag) if etag is not None else None
        options = common.StateOptions(concurrency=common.StateOptions.CONCURRENCY_FIRST_WRITE) if etag else None
        return common.StateItem(key=key, value=value, etag=tag, options=options, metadata=metadata)

    def get(key):
        return dapr.GetState(api.GetStateRequest(store_name=STORE, key=key))

    def call(app, method, data, verb=common.HTTPExtension.POST, query=""):
        return dapr.InvokeService(
            api.InvokeServiceRequest(
                id=app,
                message=common.InvokeRequest(
                    method=method,
                    data=Any(value=data),
                    content_type=JSON,
                    http_extension=common.HTTPExtension(verb=verb, querystring=query),
                ),
            ),
            metadata=(("user-agent", AGENT),),
        )

    body = b'{"message": "hello"}'

    def post():
        got = json.loads(call(HTTP_APP, "echo", body).data.value)
        assert got == {"verb": "POST", "path": "/echo", "body": body.decode()}, got

    def query():
        got = json.loads(call(HTTP_APP, "echo", b"", common.HTTPExtension.GET, "a=b").data.value)
        assert got["verb"] == "GET" and got["path"] == "/echo?a=b", got

    def verbs():
        for verb in ("PUT", "DELETE"):
            got = json.loads(call(HTTP_APP, "echo", body, common.HTTPExtension.Verb.Value(verb)).data.value)
            assert got["verb"] == verb, got

    def grpc_app():
        got = json.loads(call(GRPC_APP, "echo", body).data.value)
        assert got == {"verb": "POST", "body": body.decode()}, got

    def app_error():
        try:
            call(HTTP_APP, "status/404", body)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.NOT_FOUND, error
            return
        fail()

    feature("invoke: POST with a body", post)
    feature("invoke: GET", query)
    feature("invoke: PUT and DELETE", verbs)
    feature("invoke: the app's error", app_error)
    feature(
        "invoke: an app that is not there",
        lambda: fails(lambda: call("nobody", "echo", body), "failed to invoke, id: nobody, err: couldn't find service: nobody"),
    )
    feature("invoke: a gRPC app", grpc_app)

    def save_and_get():
        save(item("pyg-a", b"\x00binary"))
        got = get("pyg-a")
        assert got.data == b"\x00binary" and got.etag, got

    def bulk():
        got = dapr.GetBulkState(api.GetBulkStateRequest(store_name=STORE, keys=["pyg-a", "pyg-missing"], parallelism=2))
        assert {i.key: i.data for i in got.items} == {"pyg-a": b"\x00binary", "pyg-missing": b""}, got

    def etag():
        save(item("pyg-etag", b"1"))
        tag = get("pyg-etag").etag
        save(item("pyg-etag", b"2", tag))
        try:
            save(item("pyg-etag", b"3", tag))
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.ABORTED, error
            return
        fail()

    def transaction():
        save(item("pyg-gone", b"1"))
        operations = [
            api.TransactionalStateOperation(operationType="upsert", request=item("pyg-t", b"in")),
            api.TransactionalStateOperation(operationType="delete", request=item("pyg-gone")),
        ]
        dapr.ExecuteStateTransaction(api.ExecuteStateTransactionRequest(storeName=STORE, operations=operations))
        assert get("pyg-t").data == b"in" and get("pyg-gone").data == b""

    def delete():
        dapr.DeleteState(api.DeleteStateRequest(store_name=STORE, key="pyg-a"))
        assert get("pyg-a").data == b""

    def delete_bulk():
        save(item("pyg-1", b"1"), item("pyg-2", b"2"))
        dapr.DeleteBulkState(api.DeleteBulkStateRequest(store_name=STORE, states=[item("pyg-1"), item("pyg-2")]))
        assert get("pyg-1").data + get("pyg-2").data == b""

    def ttl():
        save(item("pyg-ttl", b"1", ttlInSeconds="1"))
        gone(lambda: get("pyg-ttl").data == b"")

    def unknown():
        try:
            dapr.SaveState(api.SaveStateRequest(store_name="nostore", states=[item("k", b"v")]))
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT and "nostore" in error.details(), error
            return
        fail()

    feature("state: save and get", save_and_get)
    feature("state: a missing key", lambda: get("pyg-missing").data == b"" or fail())
    feature("state: bulk get", bulk)
    feature("state: ETag", etag)
    feature("state: transaction", transaction)
    feature("state: delete", delete)
    feature("state: delete in bulk", delete_bulk)
    feature("state: time to live", ttl)
    feature("state: a store that is not there", unknown)

    def metadata():
        dapr.SetMetadata(api.SetMetadataRequest(key="greeting", value="hello"))
        got = dapr.GetMetadata(api.GetMetadataRequest())
        assert got.id == os.environ["SELF"] and got.extended_metadata["greeting"] == "hello", got

    def publish():
        try:
            dapr.PublishEvent(api.PublishEventRequest(pubsub_name="pubsub", topic="topic", data=b"x"))
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT and "pubsub" in error.details(), error
            return
        fail()

    feature("metadata", metadata)
    feature("another building block", publish)
    feature("shutdown", lambda: dapr.Shutdown(api.ShutdownRequest()))


feature("start-up", wait_for_sidecar)
if sys.argv[1] == "http":
    invocations()
    http_state()
    http_rest()
else:
    over_grpc()
