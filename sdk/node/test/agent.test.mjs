// Against a real agent: MESH_AGENT, MESH_TOKEN_FILE, and MESH_TOKEN_FILE_2 of another instance in the same namespace.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { Mesh, MeshError, MeshLockTimeoutError } from "../index.mjs";
import { until } from "./fake-door.mjs";

let one;
let two;

before(() => {
  assert.ok(process.env.MESH_TOKEN_FILE_2, "MESH_TOKEN_FILE_2 is not set");
  one = new Mesh();
  two = new Mesh({ tokenFile: process.env.MESH_TOKEN_FILE_2 });
});

/** A name that no other run of the tests has. */
function fresh(name) {
  return `${name}-${randomUUID()}`;
}

/** Nobody can be asked who is in the queue: what is not granted after a while is. */
async function queued(acquiring) {
  await Promise.race([acquiring, sleep(200)]);
}

test("a program learns who it is", async () => {
  const [a, b] = [await one.self(), await two.self()];
  for (const self of [a, b]) assert.ok(self.namespace && self.service && self.instance);
  assert.equal(a.namespace, b.namespace);
  assert.notEqual(a.instance, b.instance);
});

test("a wrong token is unauthorized", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "token-"));
  t.after(() => rmSync(dir, { recursive: true }));
  writeFileSync(join(dir, "token"), "wrong\n");
  const nobody = new Mesh({ tokenFile: join(dir, "token") });
  for (const ask of [
    () => nobody.self(),
    () => nobody.locks.acquire(fresh("job"), { waitMs: 5000 }),
    () => nobody.leader.observe("g").next(),
  ]) {
    await assert.rejects(ask, { name: "MeshError", type: "unauthorized", status: 401 });
  }
});

test("a held lock is nobody else's, and is told to everybody", async () => {
  const key = fresh("media/1 ü?#%");
  const lock = await one.locks.acquire(key, { ttlMs: 5000, metadata: { why: "encode", n: 1 } });
  assert.equal(await two.locks.tryAcquire(key), null);
  const info = await two.locks.get(key);
  assert.deepEqual(
    [info.key, info.fence, info.holder, info.ttl, info.metadata],
    [key, lock.fence, (await one.self()).instance, "5s", { why: "encode", n: 1 }],
  );
  assert.equal(Date.parse(info.expiresAt) - Date.parse(info.renewedAt), 5000);
  assert.deepEqual((await two.locks.list()).filter((other) => other.key === key).map(({ fence }) => fence), [lock.fence]);
  await sleep(20);
  await lock.renew();
  assert.ok((await two.locks.get(key)).expiresAt > info.expiresAt);
  assert.equal(await lock.release(), true);
  assert.equal(await two.locks.get(key), null);
  const next = await two.locks.tryAcquire(key);
  assert.ok(next.fence > lock.fence, "fences grow");
  await next.release();
});

test("names of dots are names", async () => {
  for (const key of [".", ".."]) {
    const lock = await one.locks.acquire(key, { waitMs: 5000 });
    assert.equal((await one.locks.get(key)).key, key);
    await lock.release();
  }
});

test("a wait that is over names the key", async () => {
  const key = fresh("job");
  const lock = await one.locks.acquire(key);
  const start = performance.now();
  const error = await two.locks.acquire(key, { waitMs: 700 }).catch((error) => error);
  assert.ok(error instanceof MeshLockTimeoutError, error);
  assert.ok(error.key === key && error.message.includes(key));
  assert.equal(error.problem.holder, (await one.self()).instance);
  const took = performance.now() - start;
  assert.ok(took > 690 && took < 3000, `${took}`);
  await assert.rejects(one.locks.acquire(key), MeshLockTimeoutError, "locks are not re-entrant");
  await lock.release();
});

test("first come, first served; who gives up leaves the queue", async () => {
  const key = fresh("job");
  const holder = await one.locks.acquire(key);
  const order = [];
  const wait = async (name, mesh, signal) => {
    const lock = await mesh.locks.acquire(key, { waitMs: 60_000, signal });
    order.push([name, lock.fence]);
    await lock.release();
  };
  const controller = new AbortController();
  const first = wait("first", two);
  await queued(first);
  const second = wait("second", one, controller.signal);
  await queued(second);
  const third = wait("third", two);
  await queued(third);
  controller.abort(new Error("enough"));
  await assert.rejects(second, /enough/);
  await holder.release();
  await Promise.all([first, third]);
  assert.deepEqual(order.map(([name]) => name), ["first", "third"]);
  assert.ok(holder.fence < order[0][1] && order[0][1] < order[1][1]);
});

test("a lock outlives its ttl while it is held, also one that was waited for longer than its ttl", async () => {
  const key = fresh("job");
  const first = await one.locks.acquire(key, { ttlMs: 1000 });
  const waiting = two.locks.acquire(key, { ttlMs: 1000, waitMs: 60_000 });
  await sleep(2500);
  assert.ok(first.held);
  await first.release();
  const second = await waiting;
  await sleep(1500);
  assert.ok(second.held && !second.signal.aborted);
  assert.equal((await one.locks.get(key)).fence, second.fence);
  await second.release();
});

test("runExclusive gives the result or the error, and always releases", async () => {
  const key = fresh("job");
  assert.equal(await one.locks.runExclusive(key, async ({ fence, lock }) => fence === lock.fence), true);
  await assert.rejects(one.locks.runExclusive(key, { waitMs: 0 }, async () => { throw new Error("mine"); }), /mine/);
  assert.equal(await two.locks.get(key), null);
});

test("the lock of a stopped process is another's after its ttl and not before, and the process learns of it", async (t) => {
  const key = fresh("job");
  const program = `
    import { Mesh } from ${JSON.stringify(new URL("../index.mjs", import.meta.url).href)};
    const lock = await new Mesh().locks.acquire(${JSON.stringify(key)}, { ttlMs: 2000 });
    console.log("fence", lock.fence);
    process.stdin.once("data", async () => {
      const { held } = lock;
      console.log(JSON.stringify({ held, reason: lock.signal.reason?.name, released: await lock.release() }));
      process.exit();
    });`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], { stdio: ["pipe", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  let out = "";
  child.stdout.on("data", (text) => (out += text));
  await until(() => out.includes("\n"), "held");
  const start = performance.now();
  child.kill("SIGSTOP");
  const lock = await two.locks.acquire(key, { ttlMs: 30_000, waitMs: 30_000 });
  const took = performance.now() - start;
  assert.ok(took > 1200 && took < 6000, `${took}`);
  assert.ok(lock.fence > Number(/\d+/.exec(out)[0]));
  child.stdin.write("go on\n");
  child.kill("SIGCONT");
  await once(child, "exit");
  assert.deepEqual(JSON.parse(out.split("\n")[1]), { held: false, reason: "LockLostError", released: false });
  assert.equal((await one.locks.get(key)).fence, lock.fence, "the other's is left alone");
  await lock.release();
});

test("what cannot be is refused by field", async () => {
  const refused = (asking, field) => assert.rejects(asking, { name: "MeshError", type: "invalid", status: 400, field });
  await refused(one.locks.acquire(fresh("job"), { metadata: { text: "x".repeat(4096) } }), "metadata");
  await refused(one.locks.acquire("x".repeat(513)), "key");
  await refused(one.locks.acquire("a\nb"), "key");
  await assert.rejects(one.locks.acquire(""), MeshError);
});

test("one leads a group; after its end the next does, and everybody may watch", async () => {
  const group = fresh("indexer");
  const controller = new AbortController();
  const seen = [];
  const watching = (async () => {
    for await (const leader of two.leader.observe(group, { signal: controller.signal })) seen.push(leader && leader.fence);
  })();
  await until(() => seen.length === 1, "nobody leads");
  const leadership = await one.leader.tryElect(group, { metadata: { zone: "a" } });
  await until(() => seen.length === 2, "one leads");
  assert.equal(await two.leader.tryElect(group), null);
  assert.equal(await two.leader.runWhenLeader(group, () => "led"), null);
  const [info] = (await two.leader.list()).filter((other) => other.group === group);
  assert.deepEqual([info.holder, info.fence], [(await one.self()).instance, leadership.fence]);
  const campaign = two.leader.runWhenLeader(group, { wait: true }, async ({ fence, signal }) => !signal.aborted && fence);
  await queued(campaign);
  await leadership.release();
  const fence = await campaign;
  assert.ok(fence > leadership.fence);
  await until(() => seen.at(-1) === null && seen.includes(fence), "nobody leads again");
  controller.abort();
  await assert.rejects(watching, { name: "AbortError" });
  assert.equal(seen[0], null);
});

test("a cleanup task stays with the instance that leads, until it stops", async () => {
  const name = fresh("tmp");
  const runs = { one: 0, two: 0 };
  for (const [who, mesh] of Object.entries({ one, two })) {
    mesh.cleanup.task(name, { intervalMs: 50, leader: true, lockKey: name, run: () => void runs[who]++ });
  }
  const status = (mesh) => mesh.cleanup.snapshots().find((task) => task.name === name);
  one.cleanup.start();
  await until(() => runs.one > 0, "one leads");
  two.cleanup.start();
  await until(() => runs.one > 3 && status(two).status === "skipped");
  assert.deepEqual([runs.two, status(two).runs], [0, 0]);
  await one.cleanup.stop();
  const before = runs.one;
  await until(() => runs.two > 1, "the other takes over");
  await two.cleanup.stop();
  assert.equal(runs.one, before);
  assert.deepEqual([status(one).status, status(two).status], ["stopped", "stopped"]);
});

test("tasks without a leader never run at the same time", async () => {
  const name = fresh("tmp");
  let running = 0;
  let runs = 0;
  const run = async () => {
    assert.equal(++running, 1);
    await sleep(30);
    running -= 1;
    runs += 1;
  };
  const { MESH_TOKEN_FILE, MESH_TOKEN_FILE_2 } = process.env;
  const meshes = [MESH_TOKEN_FILE, MESH_TOKEN_FILE_2].map((tokenFile) => new Mesh({ tokenFile }));
  for (const { cleanup } of meshes) {
    cleanup.task(name, { intervalMs: 20, jitterMs: 20, run });
    cleanup.start();
  }
  await until(() => runs >= 10);
  for (const { cleanup } of meshes) await cleanup.stop();
  for (const { cleanup } of meshes) assert.equal(cleanup.snapshots()[0].failures, 0);
});
