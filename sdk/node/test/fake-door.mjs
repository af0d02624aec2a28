// A door that says what a test tells it to: for what a real agent cannot be made to do on demand.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Mesh } from "../index.mjs";

/** Answers each request with the first rule that matches; a rule is used `times` times. */
export class FakeDoor {
  requests = [];
  #rules = [];
  #dir = mkdtempSync(join(tmpdir(), "door-"));
  #server = http.createServer((request, response) => this.#answer(request, response));

  static async open(test) {
    const door = new FakeDoor();
    test.after(() => door.#close());
    await new Promise((resolve) => door.#server.listen(join(door.#dir, "s"), resolve));
    door.agent = `unix://${door.#dir}/s`;
    door.tokenFile = join(door.#dir, "token");
    door.setToken("first");
    door.mesh = new Mesh({ agent: door.agent, tokenFile: door.tokenFile });
    return door;
  }

  setToken(token) {
    writeFileSync(this.tokenFile, `${token}\n`);
  }

  on(method, path, answer, { times = Infinity } = {}) {
    this.#rules.push({ method, path, answer, times });
    return this;
  }

  /** The requests seen so far of one method. */
  seen(method) {
    return this.requests.filter((request) => request.method === method);
  }

  async #answer(request, response) {
    let text = "";
    for await (const chunk of request) text += chunk;
    const { method, headers } = request;
    const { pathname, search } = new URL(request.url, "http://agent");
    const seen = { method, path: pathname, search, headers, body: text && JSON.parse(text), at: performance.now() };
    response.on("close", () => (seen.closed = true));
    this.requests.push(seen);
    const rule = this.#rules.find((rule) => rule.times > 0 && rule.method === method && rule.path === pathname);
    if (!rule) return problem(404, "not-found")(response, seen);
    rule.times -= 1;
    rule.answer(response, seen);
  }

  async #close() {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    rmSync(this.#dir, { recursive: true });
  }
}

export function json(value, status = 200) {
  return (response) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
}

export function problem(status, slug, more = {}) {
  return json(problemOf(status, slug, more), status);
}

export function problemOf(status, slug, more = {}) {
  return { type: `https://mesh-controller.dev/problems/${slug}`, title: slug, status, detail: `it is ${slug}`, ...more };
}

export function noContent(response) {
  response.writeHead(204).end();
}

/** Breaks the connection without an answer. */
export function broken(response) {
  response.socket.destroy();
}

/** Says these events, `[name, data]` each, and leaves the stream open. */
export function events(...list) {
  return (response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (const event of list) say(response, ...event);
  };
}

export function say(response, event, data) {
  response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
}

export function grant(fence, more = {}) {
  return { fence, holder: "web-1", ttl: "30s", metadata: {}, ...more };
}

/** Waits for a condition, with a deadline. */
export async function until(condition, what = condition) {
  const end = performance.now() + 10_000;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > end) throw new Error(`still not: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
