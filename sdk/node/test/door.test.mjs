// What a real agent cannot be made to do on demand, said by a door that follows a script.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";

import { LockLostError, Mesh, MeshError, MeshLockError, MeshLockTimeoutError } from "../index.mjs";
import { FakeDoor, broken, events, grant, json, noContent, problem, problemOf, say, until } from "./fake-door.mjs";

const JOB = "/v1/locks/job";

test("a missing or impossible setting is refused with its variable and the remedy", () => {
  const { MESH_AGENT, MESH_TOKEN_FILE, ...bare } = process.env;
  process.env = bare;
  try {
    assert.throws(() => new Mesh({ tokenFile: "t" }), /MESH_AGENT is not set.*set it/);
    assert.throws(() => new Mesh({ agent: "unix:///a" }), /MESH_TOKEN_FILE is not set.*set it/);
    assert.throws(() => new Mesh({ agent: "/a.sock", tokenFile: "t" }), /unix:\/\/\/path or http:\/\/host:port, not \/a.sock/);
    const path = `/${"é".repeat(54)}`;
    assert.throws(() => new Mesh({ agent: `unix://${path}`, tokenFile: "t" }), new RegExp(`107 bytes, ${path} has 109`));
  } finally {
    Object.assign(process.env, { ...(MESH_AGENT && { MESH_AGENT }), ...(MESH_TOKEN_FILE && { MESH_TOKEN_FILE }) });
  }
});

test("the token is read for each request", async (t) => {
  const door = await FakeDoor.open(t);
  door.on("GET", "/v1/self", json({ instance: "web-1" }));
  await door.mesh.self();
  door.setToken("second");
  await door.mesh.self();
  assert.deepEqual(door.requests.map(({ headers }) => headers.authorization), ["Bearer first", "Bearer second"]);
});

test("a kept connection that the agent closed meanwhile is no error", async (t) => {
  const door = await FakeDoor.open(t);
  door.on("GET", "/v1/self", json({ instance: "web-1" }), { times: 1 });
  door.on("GET", "/v1/self", broken, { times: 1 });
  door.on("GET", "/v1/self", json({ instance: "web-1" }));
  await door.mesh.self();
  assert.equal((await door.mesh.self()).instance, "web-1");
  assert.equal(door.requests.length, 3);
});

test("a refusal is an error with the agent's words", async (t) => {
  const door = await FakeDoor.open(t);
  door.on("POST", JOB, problem(400, "invalid", { field: "metadata", detail: "metadata: it has 5000 bytes", remedy: "use at most 4096" }));
  const error = await door.mesh.locks.acquire("job", { waitMs: 5000 }).catch((error) => error);
  assert.ok(error instanceof MeshError && !(error instanceof MeshLockError));
  assert.equal(error.message, "metadata: it has 5000 bytes (use at most 4096)");
  assert.deepEqual([error.type, error.status, error.field, error.problem.remedy], ["invalid", 400, "metadata", "use at most 4096"]);
  assert.deepEqual(door.requests[0].body, { ttl: "30s", wait: "5s" });
});

test("what is wrong is named as the caller calls it, before the agent is asked", async (t) => {
  const door = await FakeDoor.open(t);
  const { locks, leader, cleanup } = door.mesh;
  const cyclic = {};
  cyclic.self = cyclic;
  const run = () => {};
  for (const [field, ask] of [
    ["key", () => locks.acquire(5)],
    ["key", () => locks.acquire("\ud800")],
    ["group", () => leader.elect()],
    ["ttl", () => locks.acquire("job", { ttl: 5000 })],
    ["ttlMs", () => locks.acquire("job", { ttlMs: 500 })],
    ["ttlMs", () => locks.acquire("job", { ttlMs: 1500 })],
    ["ttlMs", () => locks.acquire("job", { ttlMs: "30s" })],
    ["ttlMs", () => locks.acquire("job", { ttlMs: 90_000_000 })],
    ["waitMs", () => locks.acquire("job", { waitMs: 90_000_000 })],
    ["waitMs", () => locks.acquire("job", { waitMs: "5" })],
    ["waitMs", () => locks.tryAcquire("job", { waitMs: 5 })],
    ["waitMs", () => leader.tryElect("g", { waitMs: 5 })],
    ["waitMs", () => leader.runWhenLeader("g", { waitMs: 5 }, run)],
    ["waitSeconds", () => leader.runWhenLeader("g", { wait: true, waitSeconds: 5 }, run)],
    ["timeout", () => locks.runExclusive("job", { timeout: 5 }, run)],
    ["work", () => locks.runExclusive("job", {})],
    ["options", () => locks.acquire("job", 5000)],
    ["metadata", () => locks.acquire("job", { metadata: cyclic })],
    ["metadata", () => locks.acquire("job", { metadata: { n: 5n } })],
    ["metadata", () => locks.acquire("job", { metadata: "x" })],
    ["sinal", () => locks.list({ sinal: undefined })],
    ["sinal", () => locks.get("job", { sinal: undefined })],
    ["sinal", () => leader.observe("g", { sinal: undefined }).next()],
    ["sinal", () => door.mesh.self({ sinal: undefined })],
    ["interval", async () => cleanup.task("t", { interval: 5, run })],
    ["token", async () => new Mesh({ agent: "unix:///a", token: "t" })],
  ]) {
    await assert.rejects(ask, (error) => error instanceof MeshError && error.type === "invalid" && error.field === field && error.message.startsWith(`${field}: `), field);
  }
  assert.deepEqual(door.requests, []);
});

test("a question to an agent that restarts is asked again", async (t) => {
  const door = await FakeDoor.open(t);
  for (const [path, answer, ask] of [
    ["/v1/self", { instance: "web-1" }, () => door.mesh.self()],
    ["/v1/locks", { items: [] }, () => door.mesh.locks.list()],
    [JOB, grant(7), () => door.mesh.locks.get("job")],
    ["/v1/leaders", { items: [] }, () => door.mesh.leader.list()],
  ]) {
    door.on("GET", path, broken, { times: 2 });
    door.on("GET", path, json(answer));
    assert.ok(await ask());
  }
  assert.equal(door.requests.length, 12);
});

test("an answer that is not the agent's is an error with its status", async (t) => {
  const door = await FakeDoor.open(t);
  door.on("GET", "/v1/locks", (response) => response.writeHead(502).end("<html>"));
  await assert.rejects(door.mesh.locks.list(), { name: "MeshError", status: 502, message: "HTTP status 502" });
});

test("503 is tried again until the wait is over, and at once told without a wait", async (t) => {
  const door = await FakeDoor.open(t);
  door.on("POST", JOB, problem(503, "unavailable"), { times: 3 });
  door.on("POST", JOB, events(["acquired", grant(7)]), { times: 1 });
  door.on("POST", JOB, problem(503, "unavailable"));
  door.on("DELETE", JOB, noContent);
  const lock = await door.mesh.locks.acquire("job", { waitMs: 20_000 });
  assert.equal(lock.fence, 7);
  await lock.release();
  await assert.rejects(door.mesh.locks.tryAcquire("job"), { name: "MeshError", type: "unavailable" });
  await assert.rejects(door.mesh.locks.acquire("job", { waitMs: 200 }), { name: "MeshLockTimeoutError", key: "job", type: "unavailable" });
});

test("a connection that breaks while queued is made again with the ticket and what is left of the wait", async (t) => {
  const door = await FakeDoor.open(t);
  const queuedThenBroken = (response) => {
    events(["queued", { ticket: 41, position: 2 }], ["queued", { ticket: 42, position: 1 }])(response);
    setTimeout(() => response.socket.destroy(), 100);
  };
  door.on("POST", JOB, queuedThenBroken, { times: 1 });
  door.on("POST", JOB, broken, { times: 1 });
  door.on("POST", JOB, events(["acquired", grant(43)]));
  door.on("DELETE", JOB, noContent);
  const lock = await door.mesh.locks.acquire("job", { waitMs: 60_000 });
  const [first, second, third] = door.requests;
  assert.deepEqual([first.body.ticket, second.body.ticket, third.body.ticket], [undefined, 42, 42]);
  assert.equal(first.body.wait, "1m");
  assert.match(second.body.wait, /^59s\d+ms$/);
  assert.ok(second.at - first.at < 100 + 50 + 500, "the first time soon");
  await lock.release();
});

test("an event may come in pieces, and one that is not JSON is a broken stream", async (t) => {
  const door = await FakeDoor.open(t);
  const text = `: hello\r\n\r\nevent: acquired\r\ndata: {"fence": 5,\r\ndata: "metadata": {"who": "Zoë\u2028"}}\r\n\r\n`;
  const inPieces = async (response) => {
    response.writeHead(200);
    for (const byte of Buffer.from(text)) {
      response.write(Buffer.of(byte));
      await new Promise(setImmediate);
    }
  };
  door.on("POST", JOB, (response) => response.writeHead(200).write("event: acquired\ndata: {\n\n"), { times: 1 });
  door.on("POST", JOB, inPieces);
  door.on("DELETE", JOB, noContent);
  const lock = await door.mesh.locks.acquire("job", { waitMs: 20_000 });
  assert.equal(lock.fence, 5);
  assert.equal(door.seen("POST").length, 2);
  await lock.release();
});

test("what was granted after a time in the queue is renewed before it is handed over", async (t) => {
  const door = await FakeDoor.open(t);
  let granted;
  door.on("POST", JOB, (response) => {
    events(["queued", { ticket: 1, position: 1 }])(response);
    granted = () => say(response, "acquired", grant(9));
  }, { times: 1 });
  door.on("PUT", JOB, problem(409, "lost", { reason: "NotRenewed" }), { times: 1 });
  door.on("POST", JOB, events(["acquired", grant(10)]));
  door.on("DELETE", JOB, noContent);
  const acquiring = door.mesh.locks.acquire("job", { ttlMs: 1000, waitMs: 60_000 });
  await until(() => granted, "queued");
  setTimeout(granted, 400);
  const lock = await acquiring;
  assert.equal(lock.fence, 10, "the first had been lost by then");
  assert.deepEqual(door.seen("PUT")[0].body, { fence: 9 });
  assert.equal(door.seen("POST")[1].body.ticket, undefined, "the place in the queue is used up");
  await lock.release();
});

test("who gives up while queued leaves the queue, and what came too late is released", async (t) => {
  const door = await FakeDoor.open(t);
  door.on("POST", JOB, (response) => {
    events(["queued", { ticket: 1, position: 1 }])(response);
    response.socket.prependOnceListener("end", () => say(response, "acquired", grant(11)));
  });
  door.on("DELETE", JOB, noContent);
  const controller = new AbortController();
  const acquiring = door.mesh.locks.acquire("job", { waitMs: 60_000, signal: controller.signal });
  await until(() => door.seen("POST").length === 1);
  controller.abort(new Error("enough"));
  await assert.rejects(acquiring, /^Error: enough$/);
  await until(() => door.seen("POST")[0].closed, "left");
  const [released] = await until(() => door.seen("DELETE").length && door.seen("DELETE"), "released");
  assert.equal(released.search, "?fence=11");
});

test("a signal that is aborted already asks for nothing", async (t) => {
  const door = await FakeDoor.open(t);
  const signal = AbortSignal.abort(new Error("before"));
  for (const ask of [
    () => door.mesh.self({ signal }),
    () => door.mesh.locks.acquire("job", { signal }),
    () => door.mesh.locks.tryAcquire("job", { signal }),
    () => door.mesh.locks.list({ signal }),
    () => door.mesh.locks.get("job", { signal }),
    () => door.mesh.leader.elect("g", { signal }),
    () => door.mesh.leader.list({ signal }),
    () => door.mesh.leader.observe("g", { signal }).next(),
  ]) await assert.rejects(ask, /before/);
  assert.deepEqual(door.requests, []);
});

test("a signal ends a request that the agent does not answer", async (t) => {
  const door = await FakeDoor.open(t);
  door.on("GET", "/v1/self", () => {});
  const controller = new AbortController();
  const asking = door.mesh.self({ signal: controller.signal });
  await until(() => door.requests.length === 1);
  controller.abort(new Error("enough"));
  await assert.rejects(asking, /^Error: enough$/);
});

test("a loss that the agent tells aborts the signal and rejects after the work has ended", async (t) => {
  const door = await FakeDoor.open(t);
  let stream;
  door.on("POST", JOB, (response) => {
    events(["acquired", grant(3)])(response);
    stream = response;
  });
  door.on("DELETE", JOB, problem(409, "lost"));
  let ended = false;
  const running = door.mesh.locks.runExclusive("job", async ({ signal, fence, lock }) => {
    assert.deepEqual([fence, lock.key, lock.held], [3, "job", true]);
    say(stream, "lost", { key: "job", fence: 3, reason: "TakenAway", detail: "an administrator removed it" });
    await once(signal, "abort");
    assert.equal(lock.held, false);
    await assert.rejects(lock.renew(), LockLostError);
    await new Promise((resolve) => setTimeout(resolve, 50));
    ended = true;
    return "too late";
  });
  const loss = await running.catch((error) => error);
  assert.ok(loss instanceof LockLostError && loss instanceof MeshLockError && ended);
  assert.deepEqual([loss.reason, loss.key, loss.fence, loss.detail], ["TakenAway", "job", 3, "an administrator removed it"]);
});

test("what the work throws because of a loss is the cause of the loss", async (t) => {
  const door = await FakeDoor.open(t);
  door.on("POST", JOB, events(["acquired", grant(3)], ["lost", { key: "job", fence: 3, reason: "InstanceEnded", detail: "ended" }]));
  const running = door.mesh.locks.runExclusive("job", async ({ signal }) => {
    if (!signal.aborted) await once(signal, "abort");
    throw new Error("the write was refused");
  });
  const loss = await running.catch((error) => error);
  assert.deepEqual([loss.reason, loss.cause.message], ["InstanceEnded", "the write was refused"]);
});

test("a stream that is cut while held is opened again with the fence", async (t) => {
  const door = await FakeDoor.open(t);
  let again;
  door.on("POST", JOB, (response) => {
    events(["acquired", grant(3)])(response);
    setTimeout(() => response.socket.destroy(), 20);
  });
  door.on("GET", JOB, broken, { times: 1 });
  door.on("GET", JOB, (response) => {
    events(["acquired", grant(3)])(response);
    again = response;
  });
  const lock = await door.mesh.locks.acquire("job");
  await until(() => again, "opened again");
  assert.deepEqual(door.seen("GET").map(({ search }) => search), ["?fence=3", "?fence=3"]);
  assert.ok(lock.held);
  say(again, "lost", { key: "job", fence: 3, reason: "Unavailable", detail: "renewals could not be written" });
  await until(() => lock.signal.aborted);
  assert.equal(lock.signal.reason.reason, "Unavailable");
});

test("after a restart an agent that knows nothing of it says that it is lost", async (t) => {
  const door = await FakeDoor.open(t);
  door.on("POST", JOB, (response) => events(["acquired", grant(3)])(response) ?? response.end());
  const lock = await door.mesh.locks.acquire("job");
  await until(() => lock.signal.aborted);
  assert.equal(lock.signal.reason.reason, "NotRenewed");
});

test("renewals are sent every third of the ttl, and 503 is tried again", async (t) => {
  const door = await FakeDoor.open(t);
  door.on("POST", JOB, events(["acquired", grant(3)]));
  door.on("PUT", JOB, problem(503, "unavailable"), { times: 1 });
  door.on("PUT", JOB, json(grant(3)));
  door.on("DELETE", JOB, noContent);
  const lock = await door.mesh.locks.acquire("job", { ttlMs: 3000 });
  await until(() => door.seen("PUT").length === 3);
  const [post, ...puts] = door.requests.map(({ at }) => at);
  assert.ok(puts[0] - post > 950 && puts[1] - puts[0] > 200 && puts[2] - puts[1] > 950, `${[post, ...puts]}`);
  assert.ok(lock.held);
  assert.equal(await lock.release(), true);
  assert.equal(await lock.release(), true, "it is released once");
  assert.deepEqual([lock.held, lock.signal.aborted, door.seen("DELETE").length], [false, false, 1]);
  await assert.rejects(lock.renew(), { name: "MeshLockError", type: "released" });
});

test("an agent that is silent until the ttl is over loses the lock", async (t) => {
  const door = await FakeDoor.open(t);
  door.on("POST", JOB, events(["acquired", grant(3)]));
  door.on("PUT", JOB, () => {});
  door.on("DELETE", JOB, noContent);
  const start = performance.now();
  const loss = await door.mesh.locks.runExclusive("job", { ttlMs: 1000 }, ({ signal }) => once(signal, "abort")).catch((error) => error);
  assert.ok(loss instanceof LockLostError);
  assert.deepEqual([loss.reason, loss.cause.type], ["NotRenewed", "unreachable"]);
  const took = performance.now() - start;
  assert.ok(took >= 999 && took < 1400, `${took}`);
  assert.equal(door.seen("DELETE").length, 1, "others need not wait for the agent's own ttl");
});

test("a release is tried again while the agent restarts, and a loss makes it false", async (t) => {
  const door = await FakeDoor.open(t);
  door.on("POST", JOB, events(["acquired", grant(3)]));
  door.on("DELETE", JOB, broken, { times: 2 });
  door.on("DELETE", JOB, noContent, { times: 1 });
  door.on("DELETE", JOB, problem(409, "lost", { reason: "NotRenewed" }));
  assert.equal(await (await door.mesh.locks.acquire("job")).release(), true);
  assert.equal(await (await door.mesh.locks.acquire("job")).release(), false);
  const lock = await door.mesh.locks.acquire("job");
  await lock[Symbol.asyncDispose]();
  assert.equal(lock.held, false);
});

test("a silent agent does not make a wait longer than it is, by much", async (t) => {
  const door = await FakeDoor.open(t);
  door.on("POST", JOB, () => {});
  const start = performance.now();
  await assert.rejects(door.mesh.locks.acquire("job", { waitMs: 100 }), MeshLockTimeoutError);
  assert.ok(performance.now() - start < 8000);
  await until(() => door.seen("POST")[0].closed, "left");
});

test("a process that was stopped past its ttl sees the loss before anything else", async (t) => {
  const door = await FakeDoor.open(t);
  door.on("POST", JOB, events(["acquired", grant(3)]));
  door.on("PUT", JOB, json(grant(3)));
  door.on("DELETE", JOB, noContent);
  const program = `
    import { Mesh } from ${JSON.stringify(new URL("../index.mjs", import.meta.url).href)};
    const lock = await new Mesh().locks.acquire("job", { ttlMs: 1000 });
    console.log("held", lock.held);
    process.stdin.once("data", () => {
      console.log("held", lock.held, lock.signal.aborted, lock.signal.reason?.name);
      process.exit();
    });`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    env: { ...process.env, MESH_AGENT: door.agent, MESH_TOKEN_FILE: door.tokenFile },
    stdio: ["pipe", "pipe", "inherit"],
  });
  let out = "";
  child.stdout.on("data", (text) => (out += text));
  await until(() => out === "held true\n");
  child.kill("SIGSTOP");
  await new Promise((resolve) => setTimeout(resolve, 1300));
  child.stdin.write("go on\n");
  child.kill("SIGCONT");
  await once(child, "exit");
  assert.equal(out, "held true\nheld false true LockLostError\n");
});

test("only what is held keeps the process alive", async (t) => {
  const door = await FakeDoor.open(t);
  door.on("GET", "/v1/self", json({ instance: "web-1" }));
  door.on("POST", JOB, events(["acquired", grant(3)]));
  door.on("PUT", JOB, json(grant(3)));
  door.on("DELETE", JOB, noContent);
  const run = async (body) => {
    const program = `import { Mesh } from ${JSON.stringify(new URL("../index.mjs", import.meta.url).href)};
      const mesh = new Mesh();
      ${body}`;
    const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
      env: { ...process.env, MESH_AGENT: door.agent, MESH_TOKEN_FILE: door.tokenFile },
      stdio: ["ignore", "ignore", "inherit"],
    });
    t.after(() => child.kill("SIGKILL"));
    return child;
  };
  const idle = await run(`
    await mesh.self();
    mesh.cleanup.task("later", { intervalMs: 60_000, initialDelayMs: 60_000, run() {} });
    mesh.cleanup.start();
    await (await mesh.locks.acquire("job")).release();`);
  assert.deepEqual(await once(idle, "exit"), [0, null]);
  const holding = await run(`await mesh.locks.acquire("job", { ttlMs: 1000 });`);
  await until(() => door.seen("PUT").length > 3, "it renews");
  assert.equal(holding.exitCode, null);
});

test("a leader is asked for under its group; elect waits without end", async (t) => {
  const door = await FakeDoor.open(t);
  door.on("POST", "/v1/leaders/a%2Fb%20c", events(["problem", problemOf(409, "held", { holder: "web-2" })]), { times: 2 });
  door.on("POST", "/v1/leaders/a%2Fb%20c", events(["acquired", grant(4, { group: "a/b c" })]));
  door.on("DELETE", "/v1/leaders/a%2Fb%20c", noContent);
  const { leader } = door.mesh;
  assert.equal(await leader.tryElect("a/b c"), null);
  assert.equal(await leader.runWhenLeader("a/b c", () => assert.fail("another leads")), null);
  assert.equal(await leader.runWhenLeader("a/b c", { wait: true }, async ({ signal, fence }) => [fence, signal.aborted].join()), "4,false");
  const leadership = await leader.elect("a/b c");
  assert.deepEqual([leadership.group, leadership.key, leadership.fence], ["a/b c", undefined, 4]);
  await leadership.release();
  assert.deepEqual(door.seen("POST").map(({ body }) => body.wait), ["0s", "0s", undefined, undefined]);
  assert.equal(door.seen("DELETE").length, 2);
});

test("the caller's own signal aborts the work's, and the work decides how it ends", async (t) => {
  const door = await FakeDoor.open(t);
  door.on("POST", JOB, events(["acquired", grant(3)]));
  door.on("DELETE", JOB, noContent);
  const controller = new AbortController();
  const done = door.mesh.locks.runExclusive("job", { signal: controller.signal }, async ({ signal }) => {
    controller.abort(new Error("shutting down"));
    return signal.reason.message;
  });
  assert.equal(await done, "shutting down");
  assert.equal(door.seen("DELETE").length, 1);
});

test("observe tells each change once, also over connections that break", async (t) => {
  const door = await FakeDoor.open(t);
  const GROUP = "/v1/leaders/g";
  const one = ["leader", { group: "g", fence: 1, holder: "web-1" }];
  const two = ["leader", { group: "g", fence: 2, holder: "web-2" }];
  door.on("GET", GROUP, (response) => events(one)(response) ?? response.end(), { times: 1 });
  door.on("GET", GROUP, problem(503, "unavailable"), { times: 1 });
  door.on("GET", GROUP, events(one, ["none", {}], two), { times: 1 });
  const controller = new AbortController();
  const seen = [];
  await assert.rejects(async () => {
    for await (const leader of door.mesh.leader.observe("g", { signal: controller.signal })) {
      seen.push(leader && leader.holder);
      if (seen.length === 3) setTimeout(() => controller.abort(), 20);
    }
  }, { name: "AbortError" });
  assert.deepEqual(seen, ["web-1", null, "web-2"]);
  await until(() => door.seen("GET").at(-1).closed, "the stream is left");
});

test("a cleanup task runs only when it leads and has the lock; otherwise it is skipped, which is no run", async (t) => {
  const door = await FakeDoor.open(t);
  const held = events(["problem", problemOf(409, "held")]);
  const CLEANUP = "/v1/leaders/cleanup%3Atmp";
  door.on("POST", CLEANUP, held, { times: 1 });
  door.on("POST", CLEANUP, events(["acquired", grant(20)]));
  door.on("POST", JOB, held, { times: 1 });
  door.on("POST", JOB, events(["acquired", grant(30)]));
  door.on("DELETE", JOB, noContent);
  door.on("DELETE", CLEANUP, noContent);
  const { cleanup } = door.mesh;
  const runs = [];
  cleanup.task("tmp", { intervalMs: 50, leader: true, lockKey: "job", run: ({ signal, ...run }) => void runs.push(run) });
  const snapshot = () => cleanup.snapshots()[0];
  assert.deepEqual(snapshot(), { name: "tmp", intervalMs: 50, status: "idle", runs: 0, failures: 0 });
  cleanup.start();
  await until(() => snapshot().status === "skipped");
  assert.deepEqual([door.seen("POST").length, snapshot().runs], [1, 0], "without leading the lock is not asked for");
  await until(() => door.seen("POST").length === 3);
  await until(() => snapshot().status === "skipped");
  assert.deepEqual([snapshot().runs, snapshot().failures], [0, 0]);
  await until(() => snapshot().runs === 2 && snapshot().status === "succeeded");
  assert.deepEqual([runs[0].task, runs[0].fence, runs[0].startedAt <= snapshot().lastRunAt], ["tmp", 30, true]);
  assert.equal(door.seen("POST").filter(({ path }) => path === CLEANUP).length, 2, "the leadership is kept between runs");
  await cleanup.stop();
  assert.equal(snapshot().status, "stopped");
  assert.equal(snapshot().nextRunAt, undefined);
  assert.deepEqual(door.seen("DELETE").at(-1).path, CLEANUP);
});

test("a cleanup run is told when its time is over; the next comes an interval after its end", async (t) => {
  const door = await FakeDoor.open(t);
  const LOCK = "/v1/locks/cleanup%3Atmp";
  door.on("POST", LOCK, events(["acquired", grant(30)]));
  door.on("DELETE", LOCK, noContent);
  const { cleanup } = door.mesh;
  const times = [];
  cleanup.task("tmp", {
    intervalMs: 200,
    maxRuntimeMs: 100,
    async run({ signal }) {
      times.push(performance.now());
      await once(signal, "abort");
      await new Promise((resolve) => setTimeout(resolve, 100));
      times.push(performance.now());
      throw signal.reason;
    },
  });
  cleanup.start();
  await until(() => times.length >= 3);
  const [start, end, next] = times;
  assert.ok(end - start >= 195 && next - end >= 195, `${times}`);
  const [{ status, failures, lastError, lastDurationMs }] = cleanup.snapshots();
  assert.deepEqual([status, failures, lastError], ["running", 1, "it ran for longer than 100 ms"]);
  assert.ok(lastDurationMs >= 195);
  await cleanup.stop();
  assert.equal(cleanup.snapshots()[0].failures, 1, "being stopped is no failure");
});

test("a cleanup run is told of a loss, and failed", async (t) => {
  const door = await FakeDoor.open(t);
  const lost = ["lost", { fence: 30, reason: "TakenAway", detail: "by hand" }];
  for (const path of ["/v1/locks/cleanup%3Alocked", "/v1/leaders/cleanup%3Aled"]) {
    door.on("POST", path, events(["acquired", grant(30)], lost), { times: 1 });
  }
  const { cleanup } = door.mesh;
  const run = async ({ signal }) => {
    if (!signal.aborted) await once(signal, "abort");
  };
  cleanup.task("locked", { intervalMs: 60_000, initialDelayMs: 10, run });
  cleanup.task("led", { intervalMs: 60_000, initialDelayMs: 10, leader: true, run });
  cleanup.start();
  await until(() => cleanup.snapshots().every(({ status }) => status === "failed"));
  for (const { lastError } of cleanup.snapshots()) assert.match(lastError, /TakenAway/);
  await cleanup.stop();
});

test("an agent that is away fails a cleanup task, which goes on", async (t) => {
  const door = await FakeDoor.open(t);
  door.on("POST", JOB, broken, { times: 1 });
  door.on("POST", JOB, events(["acquired", grant(30)]));
  door.on("DELETE", JOB, noContent);
  const { cleanup } = door.mesh;
  cleanup.start();
  cleanup.task("late", { intervalMs: 50, lockKey: "job", run() {} });
  const snapshot = () => cleanup.snapshots()[0];
  await until(() => snapshot().failures === 1);
  assert.match(snapshot().lastError, /did not answer/);
  await until(() => snapshot().status === "succeeded");
  assert.equal(snapshot().lastError, undefined);
  await cleanup.stop();
});

test("a cleanup task that cannot be is refused by field", () => {
  const { cleanup } = new Mesh({ agent: "unix:///a", tokenFile: "t" });
  const run = () => {};
  assert.throws(() => cleanup.task("a", { intervalMs: 0, run }), { field: "intervalMs" });
  assert.throws(() => cleanup.task("a", { intervalMs: 2 ** 31, run }), { field: "intervalMs" });
  assert.throws(() => cleanup.task("a", { intervalMs: 1 }), { field: "run" });
  cleanup.task("a", { intervalMs: 1, run });
  assert.throws(() => cleanup.task("a", { intervalMs: 1, run }), { field: "name" });
});

