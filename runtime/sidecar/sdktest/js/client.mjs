// Runs every feature of the official JavaScript client against a sidecar and
// prints a line of JSON for each: {"feature", "error"}, error empty if it works.
//
//   node client.mjs http|grpc
//
// The sidecar is DAPR_HTTP_PORT and DAPR_GRPC_PORT; the apps called are HTTP_APP
// and GRPC_APP, the store is STORE.
import assert from "node:assert/strict";
import { CommunicationProtocolEnum, DaprClient, HttpMethod } from "@dapr/dapr";

const protocol = process.argv[2];
const { DAPR_HTTP_PORT, DAPR_GRPC_PORT, HTTP_APP, GRPC_APP, STORE } = process.env;
const overHTTP = protocol === "http";
const quiet = { log() {}, error() {}, warn() {}, info() {}, verbose() {}, debug() {} };

const client = new DaprClient({
  daprHost: "127.0.0.1",
  daprPort: overHTTP ? DAPR_HTTP_PORT : DAPR_GRPC_PORT,
  communicationProtocol: overHTTP ? CommunicationProtocolEnum.HTTP : CommunicationProtocolEnum.GRPC,
  logger: { service: quiet },
});

async function feature(name, run) {
  let error = "";
  try {
    await run();
  } catch (e) {
    error = String(e?.stack ?? e);
  }
  console.log(JSON.stringify({ feature: name, error }));
}

async function fails(promise, ...texts) {
  let said;
  try {
    said = await promise;
  } catch (e) {
    said = { error: e };
  }
  assert.ok(said?.error, "it did not fail");
  const given = said.error?.message ?? said.error;
  const message = typeof given === "string" ? given : JSON.stringify(given);
  for (const text of texts) {
    assert.ok(message.includes(text), `${JSON.stringify(message)} does not contain ${JSON.stringify(text)}`);
  }
}

const key = (name) => `js-${protocol}-${name}`;

await feature("start-up", () => client.start());

await feature("invoke: POST with a body", async () => {
  const got = await client.invoker.invoke(HTTP_APP, "echo", HttpMethod.POST, { message: "hello" });
  assert.deepEqual(got, { verb: "POST", path: "/echo", body: '{"message":"hello"}' });
});
await feature("invoke: GET", async () => {
  const got = await client.invoker.invoke(HTTP_APP, "echo", HttpMethod.GET);
  assert.equal(got.verb, "GET");
});
await feature("invoke: PUT and DELETE", async () => {
  for (const verb of [HttpMethod.PUT, HttpMethod.DELETE]) {
    const got = await client.invoker.invoke(HTTP_APP, "echo", verb, { n: 1 });
    assert.equal(got.verb, verb.toUpperCase());
  }
});
await feature("invoke: the app's error", () =>
  overHTTP
    ? fails(client.invoker.invoke(HTTP_APP, "status/404", HttpMethod.POST, {}), "404", "nothing here")
    : fails(client.invoker.invoke(HTTP_APP, "status/404", HttpMethod.POST, {}), "not_found"));
await feature("invoke: an app that is not there", () =>
  fails(client.invoker.invoke("nobody", "echo", HttpMethod.POST, {}), "couldn't find service: nobody"));
await feature("invoke: a gRPC app", async () => {
  const got = await client.invoker.invoke(GRPC_APP, "echo", HttpMethod.POST, { message: "hello" });
  assert.deepEqual(got, { verb: "POST", body: '{"message":"hello"}' });
});

await feature("state: save and get", async () => {
  const value = { text: "é", list: [1, 2] };
  assert.deepEqual(await client.state.save(STORE, [{ key: key("a"), value }, { key: key("b"), value: "text" }]), {});
  const got = await client.state.get(STORE, key("a"));
  assert.deepEqual(got, value);
  assert.equal(String(await client.state.get(STORE, key("b"))), "text");
});
await feature("state: a missing key", async () => {
  const got = await client.state.get(STORE, key("missing"));
  assert.ok(got === "" || got === undefined || got === null, JSON.stringify(got));
});
await feature("state: bulk get", async () => {
  const got = await client.state.getBulk(STORE, [key("a"), key("b"), key("missing")]);
  const found = Object.fromEntries(got.map((item) => [item.key, item.data]));
  assert.deepEqual(found[key("a")], { text: "é", list: [1, 2] });
  assert.equal(found[key("b")], "text");
});
await feature("state: ETag", async () => {
  await client.state.save(STORE, [{ key: key("etag"), value: 1 }]);
  const [{ etag }] = await client.state.getBulk(STORE, [key("etag")]);
  assert.ok(etag, "no ETag");
  const guarded = (value) => [{ key: key("etag"), value, etag, options: { concurrency: 1 } }];
  assert.deepEqual(await client.state.save(STORE, guarded(2)), {});
  await fails(client.state.save(STORE, guarded(3)), "etag");
  assert.equal(Number(await client.state.get(STORE, key("etag"))), 2);
});
await feature("state: transaction", async () => {
  await client.state.save(STORE, [{ key: key("gone"), value: 1 }]);
  await client.state.transaction(STORE, [
    { operation: "upsert", request: { key: key("t"), value: "in" } },
    { operation: "delete", request: { key: key("gone") } },
  ]);
  assert.equal(String(await client.state.get(STORE, key("t"))), "in");
  const gone = await client.state.get(STORE, key("gone"));
  assert.ok(!gone, JSON.stringify(gone));
});
await feature("state: delete", async () => {
  await client.state.delete(STORE, key("a"));
  assert.ok(!(await client.state.get(STORE, key("a"))));
});
await feature("state: time to live", async () => {
  await client.state.save(STORE, [{ key: key("ttl"), value: 1, metadata: { ttlInSeconds: "1" } }]);
  for (const until = Date.now() + 60000; await client.state.get(STORE, key("ttl")); ) {
    assert.ok(Date.now() < until, "it is still there");
    await new Promise((wake) => setTimeout(wake, 50));
  }
});
await feature("state: a store that is not there", () =>
  fails(client.state.save("nostore", [{ key: "k", value: 1 }]), "nostore"));

await feature("metadata", async () => {
  assert.equal(await client.metadata.set("greeting", "hello"), true);
  const got = await client.metadata.get();
  assert.equal(got.id, process.env.SELF);
  const extended = got.extended ?? got.extendedMetadata;
  assert.equal(extended instanceof Map ? extended.get("greeting") : extended?.greeting, "hello");
});
await feature("health", async () => assert.equal(await client.health.isHealthy(), true));
await feature("another building block", () =>
  fails(client.pubsub.publish("pubsub", "topic", { n: 1 }), "pubsub"));
await feature("shutdown", async () => {
  await client.sidecar.shutdown();
});
await client.stop();
