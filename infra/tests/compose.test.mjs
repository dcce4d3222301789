// The compose files leave no setting out: what an operator sets reaches the services that read it.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const names = (path, line) => [...readFileSync(here(path), "utf8").matchAll(line)].map(([, name]) => name);
const settings = names("../../crates/service-kit/src/settings/default.env", /^(SECKILL_\w+)=/gm);
const compose = readFileSync(here("../compose.yaml"), "utf8");

// How the containers find each other, which compose.yaml knows best; where they listen, which stands in the Dockerfile; and the
// data folder, in which they keep nothing.
const OWN = ["STOCK_URL", "QUEUE_URL", "DATABASE_URL", "INVENTORY_URL", "ORDER_URL", "NOTIFY_URL", "SANDBOX_WEBHOOK_URL", "TRUSTED_PROXIES", "CONNECTIONS_PER_ADDRESS_MAX", "LISTEN", "ADMIN_LISTEN", "DATA_DIR"];
const open = settings.filter((name) => !OWN.includes(name.replace("SECKILL_", "")));
const isThere = ([program, ...words]) => spawnSync(program, [...words, "version"]).status === 0;
const command = [["docker", "compose"], ["docker-compose"]].find(isThere);

test("every setting is passed on, or is the containers' own", () => {
  const passed = new Set([...compose.matchAll(/^ +(SECKILL_\w+):(?: *$| \$\{\1[:}])/gm)].map(([, name]) => name));
  assert.deepEqual(open.filter((name) => !passed.has(name)), []);
  assert.deepEqual([...passed].filter((name) => !open.includes(name)), [], "and there are no others");
});

test("what stands in .env reaches the services, and nothing else does", { skip: command ? false : "no compose is installed" }, () => {
  const home = mkdtempSync(join(tmpdir(), "shop-compose-"));
  const [program, ...words] = command;
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("SECKILL_")));
  /** What compose makes of its files with these lines in .env. */
  function read(lines) {
    const file = join(home, "env");
    writeFileSync(file, lines);
    const files = ["../compose.yaml", "../ha/compose.yaml"].flatMap((path) => ["-f", here(path)]);
    const { status, stdout, stderr } = spawnSync(program, [...words, "--env-file", file, ...files, "config"], { encoding: "utf8", env });
    assert.equal(status, 0, stderr);
    return stdout;
  }
  try {
    const drawn = spawnSync("sh", [here("../new-settings"), "compose"], { encoding: "utf8" }).stdout;
    const optional = open.filter((name) => !drawn.includes(`${name}=`));
    const set = read(drawn + optional.map((name) => `${name}=of-${name}\n`).join(""));
    assert.deepEqual(optional.filter((name) => !set.includes(`${name}: of-${name}\n`)), []);
    const unset = read(drawn);
    const given = optional.filter((name) => new RegExp(`${name}: (?!null$)\\S`, "m").test(unset));
    assert.deepEqual(given.sort(), ["SECKILL_CONNECTIONS_MAX", "SECKILL_DEMO", "SECKILL_STREAMS_MAX"]);
  } finally {
    rmSync(home, { recursive: true });
  }
});
