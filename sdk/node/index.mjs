// The source is CommonJS, so that `import` and `require` give the same classes and `instanceof` holds across both.
import sdk from "./index.js";

export const { Mesh, MeshError, MeshLockError, MeshLockTimeoutError, LockLostError } = sdk;
