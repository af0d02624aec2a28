"use strict";

const { acquire, lockOf } = require("./acquire.js");
const { MeshLockTimeoutError } = require("./errors.js");
const { whileHeld } = require("./lease.js");

class Locks {
  #door;

  constructor(door) {
    this.#door = door;
  }

  async acquire(key, { waitMs = 0, ...options } = {}) {
    return acquire(this.#door, lockOf(key), { waitMs, ...options });
  }

  async tryAcquire(key, options) {
    return nullIfHeld(this.acquire(key, { ...options, waitMs: 0 }));
  }

  async runExclusive(key, options, work) {
    if (work === undefined) return this.runExclusive(key, {}, options);
    const lock = await this.acquire(key, options);
    return whileHeld(lock, options.signal, (signal) => work({ signal, fence: lock.fence, lock }));
  }

  async list({ signal } = {}) {
    return (await this.#door.json("GET", "/v1/locks", { signal })).items;
  }

  async get(key, { signal } = {}) {
    try {
      return await this.#door.json("GET", lockOf(key).url, { signal });
    } catch (error) {
      if (error.type === "not-found") return null;
      throw error;
    }
  }
}

/** Null instead of the error that somebody else holds it. */
async function nullIfHeld(lease) {
  try {
    return await lease;
  } catch (error) {
    if (error instanceof MeshLockTimeoutError) return null;
    throw error;
  }
}

module.exports = { Locks, nullIfHeld };
