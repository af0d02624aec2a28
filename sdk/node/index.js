"use strict";

const { Cleanup } = require("./lib/cleanup.js");
const { Door } = require("./lib/door.js");
const { Leaders } = require("./lib/leaders.js");
const { Locks } = require("./lib/locks.js");
const { MeshError, MeshLockError, MeshLockTimeoutError, LockLostError } = require("./lib/errors.js");

/** The agent of this machine, as one instance of a service sees it. */
class Mesh {
  #door;

  constructor({ agent = process.env.MESH_AGENT, tokenFile = process.env.MESH_TOKEN_FILE } = {}) {
    this.#door = new Door(agent, tokenFile);
    this.locks = new Locks(this.#door);
    this.leader = new Leaders(this.#door);
    this.cleanup = new Cleanup(this.locks, this.leader);
  }

  self({ signal } = {}) {
    return this.#door.json("GET", "/v1/self", { signal });
  }
}

module.exports = { Mesh, MeshError, MeshLockError, MeshLockTimeoutError, LockLostError };
