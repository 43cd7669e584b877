// A turn by @grpc/grpc-js: node client.js NODE_MODULES PROTO_FOLDER ADDRESS REQUESTS(JSON) -> one JSON object.
"use strict";
const [modules, protos, address, requests] = process.argv.slice(2);
const load = require("module").createRequire(modules + "/");
const grpc = load("@grpc/grpc-js");
const loader = load("@grpc/proto-loader");

const options = { keepCase: true, enums: String, longs: String, defaults: true, oneofs: true, includeDirs: [protos] };
const definition = loader.loadSync("qwentts/v1/tts.proto", options);
const { TTSService } = grpc.loadPackageDefinition(definition).qwentts.v1;
const client = new TTSService(address, grpc.credentials.createInsecure());

const call = client.Synthesize({ deadline: Date.now() + 30_000 });
const kinds = [];
const audio = [];
call.on("data", (response) => {
  kinds.push(response.payload);
  if (response.payload === "audio") audio.push(response.audio.data);
});
call.on("error", () => {}); // the status says it too
call.on("status", (status) => {
  const details = status.metadata.get("grpc-status-details-bin").map((value) => value.toString("base64"));
  const trailers = Object.fromEntries(["audio-samples", "finish-reason"].map((key) => [key, status.metadata.get(key)[0]]));
  const pcm = Buffer.concat(audio).toString("base64");
  console.log(JSON.stringify({ code: status.code, message: status.details, details, trailers, kinds, pcm }));
  client.close();
});
for (const request of JSON.parse(requests)) call.write(request);
call.end();
