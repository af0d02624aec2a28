"use strict";

const { setTimeout: sleep } = require("node:timers/promises");

const { invalid } = require("./errors.js");
const { known } = require("./options.js");
const { LONGEST_MS, checkedMs, linked, now } = require("./time.js");

const TASK = ["intervalMs", "initialDelayMs", "jitterMs", "leader", "lockKey", "maxRuntimeMs", "run"];

/** Tasks that come again and again, each run by one instance at a time. */
class Cleanup {
  #locks;
  #leaders;
  #tasks = new Map();
  #leaderships = new Map();
  #stop;

  constructor(locks, leaders) {
    this.#locks = locks;
    this.#leaders = leaders;
  }

  task(name, options) {
    if (this.#tasks.has(name)) throw invalid("name", `there is a cleanup task "${name}" already`);
    const task = new Task(name, options);
    this.#tasks.set(name, task);
    if (this.#stop) this.#begin(task);
  }

  start() {
    if (this.#stop) return;
    this.#stop = new AbortController();
    for (const task of this.#tasks.values()) this.#begin(task);
  }

  async stop() {
    this.#stop?.abort();
    this.#stop = undefined;
    await Promise.all([...this.#tasks.values()].map((task) => task.loop));
    const leaderships = [...this.#leaderships.values()];
    this.#leaderships.clear();
    await Promise.all(leaderships.map(async (leadership) => (await leadership)?.release()));
  }

  snapshots() {
    return [...this.#tasks.values()].map((task) => task.snapshot()).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  // After the loop of an earlier start, so that two runs never overlap.
  #begin(task) {
    const { signal } = this.#stop;
    task.loop = Promise.resolve(task.loop).then(() => this.#repeat(task, signal));
  }

  async #repeat(task, stop) {
    for (let delayMs = task.initialDelayMs; await task.pause(delayMs, stop); delayMs = task.intervalMs) {
      await this.#attempt(task, stop);
    }
    task.stopped();
  }

  async #attempt(task, stop) {
    let lock;
    try {
      const leadership = task.group && (await this.#lead(task.group, stop));
      if (leadership === null) return task.skipped();
      lock = task.lockKey && (await this.#locks.tryAcquire(task.lockKey, { signal: stop }));
      if (lock === null) return task.skipped();
      await task.work([lock, leadership].filter(Boolean), stop);
    } catch (error) {
      if (!stop.aborted) task.failed(error);
    } finally {
      await lock?.release();
    }
  }

  /** The leadership is kept until the end, so that the task stays with one instance; tasks of one group share it. */
  #lead(group, signal) {
    const before = this.#leaderships.get(group) ?? Promise.resolve(null);
    const leadership = before.then((lease) => (lease?.held ? lease : this.#leaders.tryElect(group, { signal })));
    this.#leaderships.set(group, leadership.catch(() => null));
    return leadership;
  }
}

class Task {
  #name;
  #jitterMs;
  #maxRuntimeMs;
  #run;
  #seen = { status: "idle", runs: 0, failures: 0 };

  constructor(name, options = {}) {
    const { intervalMs, initialDelayMs = 0, jitterMs = 0, leader, lockKey, maxRuntimeMs, run } = known(options, TASK);
    if (typeof run !== "function") throw invalid("run", "it is a function");
    this.#name = name;
    this.#jitterMs = checkedMs("jitterMs", jitterMs);
    this.#maxRuntimeMs = maxRuntimeMs === undefined ? undefined : checkedMs("maxRuntimeMs", maxRuntimeMs, 1);
    this.#run = run;
    this.intervalMs = checkedMs("intervalMs", intervalMs, 1);
    this.initialDelayMs = checkedMs("initialDelayMs", initialDelayMs);
    this.group = leader === true ? `cleanup:${name}` : leader || undefined;
    this.lockKey = lockKey ?? (this.group ? undefined : `cleanup:${name}`);
  }

  snapshot() {
    return { name: this.#name, intervalMs: this.intervalMs, ...this.#seen };
  }

  /** False when it was stopped meanwhile. */
  async pause(delayMs, stop) {
    const ms = Math.min(delayMs + Math.random() * this.#jitterMs, LONGEST_MS);
    this.#seen.nextRunAt = new Date(Date.now() + ms).toISOString();
    await sleep(ms, undefined, { signal: stop, ref: false }).catch(() => {});
    delete this.#seen.nextRunAt;
    return !stop.aborted;
  }

  async work(leases, stop) {
    const startedAt = new Date().toISOString();
    const start = now();
    const run = linked(stop, ...leases.map((lease) => lease.signal));
    const overrun = () => run.abort(new DOMException(`it ran for longer than ${this.#maxRuntimeMs} ms`, "TimeoutError"));
    const timer = this.#maxRuntimeMs && setTimeout(overrun, this.#maxRuntimeMs);
    this.#seen.status = "running";
    this.#seen.lastRunAt = startedAt;
    this.#seen.runs += 1;
    try {
      await this.#run({ task: this.#name, signal: run.signal, fence: leases[0].fence, startedAt });
      for (const lease of leases) if (!lease.held) lease.signal.throwIfAborted();
      this.#seen.status = "succeeded";
      delete this.#seen.lastError;
    } finally {
      clearTimeout(timer);
      run.unlink();
      this.#seen.lastDurationMs = Math.round(now() - start);
    }
  }

  skipped() {
    this.#seen.status = "skipped";
  }

  failed(error) {
    this.#seen.status = "failed";
    this.#seen.failures += 1;
    this.#seen.lastError = error instanceof Error ? error.message : String(error);
  }

  stopped() {
    this.#seen.status = "stopped";
  }
}

module.exports = { Cleanup };
