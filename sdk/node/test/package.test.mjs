// What `npm publish` would send is whole, and loads either way.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

test("the package has these files", () => {
  const [{ files }] = JSON.parse(execFileSync("npm", ["pack", "--dry-run", "--json"], { cwd: root, stdio: ["ignore", "pipe", "ignore"] }));
  assert.deepEqual(files.map(({ path }) => path).sort(), [
    "LICENSE",
    "README.md",
    "index.d.mts",
    "index.d.ts",
    "index.js",
    "index.mjs",
    "lib/acquire.js",
    "lib/cleanup.js",
    "lib/door.js",
    "lib/errors.js",
    "lib/leaders.js",
    "lib/lease.js",
    "lib/locks.js",
    "lib/options.js",
    "lib/time.js",
    "package.json",
  ]);
});

test("import and require of the installed package give the same classes", (t) => {
  const project = mkdtempSync(join(tmpdir(), "pack-"));
  t.after(() => rmSync(project, { recursive: true }));
  const home = join(project, "node_modules/@mesh-controller/sdk");
  mkdirSync(home, { recursive: true });
  execFileSync("npm", ["pack", "--silent", "--pack-destination", project], { cwd: root });
  execFileSync("tar", ["-xzf", join(project, "mesh-controller-sdk-0.1.0.tgz"), "-C", home, "--strip-components=1"]);
  const program = `
    import * as imported from "@mesh-controller/sdk";
    import { createRequire } from "node:module";
    const required = createRequire(process.cwd() + "/main.js")("@mesh-controller/sdk");
    const names = Object.keys(required);
    const same = names.every((name) => imported[name] === required[name]);
    let error;
    try { new imported.Mesh({ agent: "wrong" }); } catch (caught) { error = caught; }
    console.log(same, Object.keys(imported).length === names.length, error instanceof required.MeshError);`;
  const out = execFileSync(process.execPath, ["--input-type=module", "--eval", program], { cwd: project, encoding: "utf8" });
  assert.equal(out, "true true true\n");
  assert.equal(JSON.parse(readFileSync(join(home, "package.json"), "utf8")).dependencies, undefined);
});
