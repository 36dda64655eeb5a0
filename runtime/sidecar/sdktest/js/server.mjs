// An app made with the official JavaScript server: node server.mjs http|grpc.
import { CommunicationProtocolEnum, DaprServer, HttpMethod } from "@dapr/dapr";

const overHTTP = process.argv[2] === "http";
const server = new DaprServer({
  serverHost: "127.0.0.1",
  serverPort: process.env.PORT,
  communicationProtocol: overHTTP ? CommunicationProtocolEnum.HTTP : CommunicationProtocolEnum.GRPC,
  clientOptions: {
    daprHost: "127.0.0.1",
    daprPort: overHTTP ? process.env.DAPR_HTTP_PORT : process.env.DAPR_GRPC_PORT,
  },
});

await server.invoker.listen("echo", async ({ body }) => ({ verb: "POST", body: JSON.parse(body) }), { method: HttpMethod.POST });
await server.start();
console.log("serving");
