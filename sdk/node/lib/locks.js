"use strict";

const { acquire, lockOf } = require("./acquire.js");
const { MeshLockTimeoutError, invalid } = require("./errors.js");
const { whileHeld } = require("./lease.js");
const { ACQUIRE, LEASE, known } = require("./options.js");

class Locks {
  #door;

  constructor(door) {
    this.#door = door;
  }

  async acquire(key, options = {}) {
    return acquire(this.#door, lockOf(key), { ...known(options, ACQUIRE), waitMs: options.waitMs ?? 0 });
  }

  async tryAcquire(key, options = {}) {
    return nullIfHeld(this.acquire(key, { ...known(options, LEASE), waitMs: 0 }));
  }

  async runExclusive(key, options, work) {
    if (work === undefined) return this.runExclusive(key, {}, options);
    if (typeof work !== "function") throw invalid("work", "it is a function");
    const lock = await this.acquire(key, options);
    return whileHeld(lock, options.signal, (signal) => work({ signal, fence: lock.fence, lock }));
  }

  async list(options = {}) {
    return (await this.#door.read("/v1/locks", options)).items;
  }

  async get(key, options = {}) {
    try {
      return await this.#door.read(lockOf(key).url, options);
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
