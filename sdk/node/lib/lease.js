"use strict";

const { setTimeout: sleep } = require("node:timers/promises");

const { LockLostError, MeshLockError, isPassing, refused } = require("./errors.js");
const { CANCELLABLE, known } = require("./options.js");
const { backoff, linked, now, unlessAborted } = require("./time.js");

/** How soon a renewal or a release that failed is tried again. */
const RETRY_MS = 250;

/** How long a release is tried; after that the lease ends with its ttl. */
const RELEASE_MS = 5000;

/** A lock or a leadership that is held. It renews itself until it is released or lost. */
class Lease {
  #door;
  #subject;
  #ttlMs;
  #events;
  #deadline;
  #timers = [];
  #open = true;
  #lost = new AbortController();
  #renewal;
  #release;
  #trouble;

  /** `sent`: when the request was sent that the agent granted; `events`: the stream that said so. */
  constructor(door, subject, { ttlMs, fence, sent, events }) {
    this[subject.noun] = subject.name;
    this.fence = fence;
    this.#door = door;
    this.#subject = subject;
    this.#ttlMs = ttlMs;
    this.#events = events;
    this.#extendFrom(sent);
    this.#listen();
  }

  get signal() {
    return this.#lost.signal;
  }

  // Reads the clock: timers are late in a process that was stopped.
  get held() {
    if (this.#open && now() >= this.#deadline) {
      const why = this.#trouble ? `: ${this.#trouble.message}` : "";
      this.#lose({ reason: "NotRenewed", detail: `no renewal was confirmed within its ttl of ${this.#ttlMs} ms${why}` }, this.#trouble);
    }
    return this.#open;
  }

  /** Renewals that are asked for at the same time are one. */
  async renew(options = {}) {
    const { signal } = known(options, CANCELLABLE);
    this.#renewal ??= this.#renew().finally(() => (this.#renewal = undefined));
    await unlessAborted(this.#renewal, signal);
  }

  /** Never rejects, so that it can stand in a `finally`. */
  release() {
    this.#release ??= this.#giveBack();
    return this.#release;
  }

  async [Symbol.asyncDispose]() {
    await this.release();
  }

  async #renew() {
    while (this.held) {
      const sent = now();
      try {
        await this.#door.json("PUT", this.#subject.url, {
          body: { fence: this.fence },
          limitMs: Math.max(1, Math.min(this.#ttlMs / 3, this.#deadline - sent)),
        });
        if (this.held) return this.#extendFrom(sent);
      } catch (error) {
        this.#failed(error);
        if (this.held) await sleep(RETRY_MS);
      }
    }
    this.signal.throwIfAborted();
    throw new MeshLockError(`${this.#subject.title} was released`, { type: "released", key: this.#subject.name });
  }

  #extendFrom(sent) {
    this.#deadline = sent + this.#ttlMs;
    this.#clearTimers();
    this.#timers = [
      setTimeout(() => this.renew().catch(() => {}), sent + this.#ttlMs / 3 - now()),
      setTimeout(() => this.held, this.#deadline - now() + 1),
    ];
  }

  /** Hears of a loss from the agent; a stream that broke is opened again, as long as there is hope. */
  async #listen() {
    for (let tries = 0; this.held; ) {
      try {
        for (let said; (said = await this.#events.next()); tries = 0) this.#hear(said);
      } catch (error) {
        this.#failed(error);
      }
      if (!this.held) return;
      await sleep(backoff(tries++));
      if (this.held) this.#events = this.#door.events("GET", `${this.#subject.url}?fence=${this.fence}`);
    }
  }

  #hear({ event, data }) {
    if (event === "lost") this.#lose(data);
    if (event === "released") this.#lose({ reason: "Released", detail: "it was released by another request" });
    if (event === "problem") throw refused(data);
  }

  #failed(error) {
    if (error.type === "lost" || error.type === "not-found") this.#lose({ reason: error.problem.reason, detail: error.detail }, error);
    else this.#trouble = error;
  }

  #lose({ reason = "NotRenewed", detail }, cause) {
    if (!this.#open) return;
    this.#end();
    const { title, name } = this.#subject;
    this.#lost.abort(new LockLostError(`${title} was lost (${reason}): ${detail}`, { key: name, fence: this.fence, reason, detail, cause }));
  }

  #end() {
    this.#open = false;
    this.#clearTimers();
    this.#events.hangUp();
  }

  #clearTimers() {
    this.#timers.forEach(clearTimeout);
  }

  // Also after a loss: the agent may hold it for us until the ttl is over, and nobody needs to wait for that.
  async #giveBack() {
    const wasHeld = this.held;
    if (wasHeld) this.#end();
    const end = Math.min(this.#deadline, now() + RELEASE_MS);
    for (;;) {
      try {
        await this.#door.json("DELETE", `${this.#subject.url}?fence=${this.fence}`, { limitMs: RELEASE_MS });
        return wasHeld;
      } catch (error) {
        if (!isPassing(error) || now() + RETRY_MS >= end) return false;
      }
      await sleep(RETRY_MS);
    }
  }
}

/**
 * Does the work with a signal that is aborted by a loss of the lease and by the caller's own signal, then gives the lease back.
 * Rejects with the loss, if there was one, once the work has ended.
 */
async function whileHeld(lease, signal, work) {
  const either = linked(lease.signal, signal);
  try {
    const result = await work(either.signal);
    if (!lease.held) lease.signal.throwIfAborted();
    return result;
  } catch (error) {
    if (lease.held || !lease.signal.aborted) throw error;
    const loss = lease.signal.reason;
    if (error !== loss) loss.cause ??= error;
    throw loss;
  } finally {
    either.unlink();
    await lease.release();
  }
}

module.exports = { Lease, whileHeld };
