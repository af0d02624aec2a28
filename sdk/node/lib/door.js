"use strict";

const { readFile } = require("node:fs/promises");
const http = require("node:http");
const { setTimeout: sleep } = require("node:timers/promises");

const { MeshError, invalid, refused, unreachable } = require("./errors.js");
const { CANCELLABLE, known } = require("./options.js");
const { backoff, now, unlessAborted } = require("./time.js");

/** No stream is silent for longer than this (the agent writes a comment every 10 s), and no answer takes longer. */
const SILENCE_MS = 30_000;

/** How long an agent that does not answer is asked again. */
const PATIENCE_MS = 5000;

/** How long the agent is listened to after hanging up. */
const FAREWELL_MS = 1000;

/** The longest path that the address of a Unix socket holds. */
const SOCKET_PATH_BYTES = 107;

/** HTTP to the agent: one answer, or a stream of events. */
class Door {
  #address;
  #tokenFile;
  #connections = new http.Agent({ keepAlive: true });

  constructor(agent, tokenFile) {
    this.#address = addressOf(agent);
    if (!tokenFile) throw unset("tokenFile", "MESH_TOKEN_FILE");
    this.#tokenFile = tokenFile;
  }

  /** The JSON that the agent answers; `limitMs` is how long it may be silent. */
  async json(method, path, { body, signal, limitMs } = {}) {
    for (;;) {
      signal?.throwIfAborted();
      const request = await this.open(method, path, { body, limitMs, signal, agent: this.#connections });
      try {
        return await answerTo(request);
      } catch (error) {
        if (signal?.aborted) throw signal.reason;
        // The agent had closed this connection since its last answer: that says nothing about the request.
        if (request.reusedSocket && (error.code === "ECONNRESET" || error.code === "EPIPE")) continue;
        throw asMeshError(error);
      }
    }
  }

  /** What the agent says; one that does not answer is asked again for a while, as it may be restarting. */
  async read(path, options) {
    const { signal } = known(options, CANCELLABLE);
    const end = now() + PATIENCE_MS;
    for (let tries = 0; ; ) {
      try {
        return await this.json("GET", path, { signal });
      } catch (error) {
        if (signal?.aborted || error.type !== "unreachable" || now() >= end) throw error;
      }
      await unlessAborted(sleep(backoff(tries++)), signal);
    }
  }

  /** A stream of events, on a connection of its own. */
  events(method, path, body) {
    return new Events(() => this.open(method, path, { body, accept: "text/event-stream", agent: false }));
  }

  async open(method, path, { body, accept = "application/json", limitMs = SILENCE_MS, agent, signal }) {
    const headers = { accept, authorization: `Bearer ${await this.#token()}` };
    const content = body && JSON.stringify(body);
    if (content) {
      headers["content-type"] = "application/json";
      headers["content-length"] = Buffer.byteLength(content);
    }
    const request = http.request({ ...this.#address, method, path, headers, agent, signal });
    request.setTimeout(limitMs, () => request.destroy(new Error(`it was silent for ${Math.round(limitMs)} ms`)));
    request.on("error", () => {}); // told by responseTo() as well
    return request.end(content);
  }

  // Read for each request, as it may have been rotated.
  async #token() {
    try {
      return (await readFile(this.#tokenFile, "utf8")).trim();
    } catch (error) {
      throw new MeshError(`the token file cannot be read: ${error.message} (MESH_TOKEN_FILE names it)`, { type: "unauthorized", field: "tokenFile", cause: error });
    }
  }
}

/** Events of one answer, read by `next()`: `{ event, data }`, or undefined at the end. */
class Events {
  #request;
  #events;
  #left = false;

  constructor(open) {
    this.#events = this.#read(open);
  }

  async next() {
    return (await this.#events.next()).value;
  }

  /** Closes our half of the connection: what the agent said before it saw that can still be read. */
  hangUp() {
    this.#left = true;
    this.#request?.setTimeout(FAREWELL_MS);
    if (this.#request?.socket) this.#request.socket.end();
    else this.#request?.destroy();
  }

  async *#read(open) {
    try {
      this.#request = await open();
      if (this.#left) this.hangUp();
      const response = await responseTo(this.#request);
      if (response.statusCode !== 200) throw refusal(response.statusCode, await textOf(response));
      yield* eventsOf(response);
    } catch (error) {
      throw asMeshError(error);
    }
  }
}

/** Parses `text/event-stream` (HTML Living Standard, 9.2.6), as far as the agent uses it. */
async function* eventsOf(response) {
  let rest = "";
  let event = "";
  let data = [];
  for await (const chunk of response.setEncoding("utf8")) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const text = line.endsWith("\r") ? line.slice(0, -1) : line;
      if (text.startsWith("event:")) event = text.slice("event:".length).trim();
      else if (text.startsWith("data:")) data.push(text.slice("data:".length));
      else if (text === "") {
        if (data.length > 0) yield { event, data: parsed(data.join("\n")) };
        event = "";
        data = [];
      }
    }
  }
}

function responseTo(request) {
  return new Promise((resolve, reject) => request.once("response", resolve).once("error", reject));
}

async function answerTo(request) {
  const response = await responseTo(request);
  const text = await textOf(response);
  if (response.statusCode >= 300) throw refusal(response.statusCode, text);
  return text === "" ? undefined : parsed(text);
}

async function textOf(response) {
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) text += chunk;
  return text;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw unreachable(`what it said is not JSON: ${text.slice(0, 80)}`, error);
  }
}

function refusal(status, text) {
  try {
    return refused({ status, ...JSON.parse(text) });
  } catch {
    return refused({ status, detail: `HTTP status ${status}` });
  }
}

function asMeshError(error) {
  return error instanceof MeshError ? error : unreachable(error.message, error);
}

/** `unix:///path` or `http://host:port`, as the options that `http.request` takes. */
function addressOf(agent) {
  if (!agent) throw unset("agent", "MESH_AGENT");
  if (agent.startsWith("unix:///")) {
    const socketPath = agent.slice("unix://".length);
    if (Buffer.byteLength(socketPath) <= SOCKET_PATH_BYTES) return { socketPath };
    throw invalid("agent", `the path of a socket has at most ${SOCKET_PATH_BYTES} bytes, ${socketPath} has ${Buffer.byteLength(socketPath)}`);
  }
  const url = URL.canParse(agent) ? new URL(agent) : undefined;
  if (url?.protocol === "http:") return { host: url.hostname, port: url.port };
  throw invalid("agent", `it is unix:///path or http://host:port, not ${agent}`);
}

function unset(option, variable) {
  return invalid(option, `${variable} is not set. mesh-controller sets it for the programs that it starts; elsewhere set it, or give { ${option} }`);
}

module.exports = { Door };
