// Makes calls with the npm package `openai` on command: one command in a line of JSON, one answer in another.
//
// It runs in the folder where that package is installed, and stands for its users: what it answers is what the
// client gave back or threw. The first line it writes says which version it is.

import { File } from "node:buffer";
import { createReadStream, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";

globalThis.File ??= File; // Node 18 has it, but not as a global

const require = createRequire(join(process.cwd(), "package.json"));
const OpenAI = require("openai");
const { VERSION } = require("openai/version");

const clients = new Map();

function openClient(options) {
  const key = JSON.stringify(options);
  if (!clients.has(key)) {
    const { api_key: apiKey, base_url: baseURL, max_retries: maxRetries, timeout } = options;
    // The tests think in seconds, this client in milliseconds.
    const timeoutMs = timeout === undefined ? undefined : timeout * 1000;
    clients.set(key, new OpenAI({ apiKey, baseURL, maxRetries, timeout: timeoutMs }));
  }
  return clients.get(key);
}

async function openFile({ path, way, name = basename(path), mime_type: type = "audio/wav" }) {
  switch (way) {
    case "stream":
      return createReadStream(path);
    case "toFile":
      return OpenAI.toFile(readFileSync(path), name);
    case "file":
      return new File([readFileSync(path)], name, { type });
  }
  throw new Error(way);
}

function call(client, command, parameters) {
  const options = { headers: command.headers };
  switch (command.call) {
    case "transcribe":
      return client.audio.transcriptions.create(parameters, options);
    case "models.list":
      return client.models.list(options);
    case "models.retrieve":
      return client.models.retrieve(parameters.model, options);
  }
  throw new Error(command.call);
}

function describe(returned) {
  if (typeof returned === "string") {
    return { kind: "text", type: "str", value: returned };
  }
  return { kind: "object", type: "object", value: returned, request_id: returned._request_id };
}

async function collect(items) {
  const collected = [];
  for await (const item of items) {
    collected.push(item);
  }
  return collected;
}

function describeError(error) {
  const bases = [];
  for (let kind = error.constructor; kind?.name; kind = Object.getPrototypeOf(kind)) {
    bases.push(kind.name);
  }
  const { status, code, param, type, message, requestID, error: body } = error;
  const told = { status, code, param, type, message, request_id: requestID, body };
  for (const name of Object.keys(told)) {
    told[name] ??= null;
  }
  return { class: error.constructor.name, bases, ...told };
}

async function describeResponse(promise) {
  const { data, response } = await promise.withResponse();
  return { ...describe(data), headers: Object.fromEntries(response.headers), status: response.status };
}

async function obey(command, events) {
  const parameters = { ...command.parameters, ...command.body };
  if (command.file) {
    parameters.file = await openFile(command.file);
  }
  const promise = call(openClient(command.client), command, parameters);
  if (command.raw) {
    return describeResponse(promise);
  }
  const returned = await promise;
  if (parameters.stream) {
    for await (const event of returned) {
      events.push({ type: "object", value: event });
      if (events.length === command.leave_after) {
        break;
      }
    }
    return { kind: "events", events };
  }
  if (command.call === "models.list") {
    return { kind: "object", type: "list", value: { data: await collect(returned) } };
  }
  return describe(returned);
}

function write(line) {
  process.stdout.write(JSON.stringify(line) + "\n");
}

write({ name: "openai", language: "node", version: VERSION });
for await (const line of createInterface({ input: process.stdin })) {
  const events = [];
  try {
    write(await obey(JSON.parse(line), events));
  } catch (error) {
    write({ kind: "error", events, error: describeError(error) });
  }
}
