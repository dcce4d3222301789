// Prometheus's own tool reads its configuration, and plays the alerts of alerts.test.yml.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const skip = spawnSync("promtool", ["--version"]).error ? "promtool is not installed" : false;

for (const [what, ...command] of [
  ["what is scraped", "check", "config", here("../prometheus/prometheus.yml")],
  ["what raises an alert", "test", "rules", here("alerts.test.yml")],
]) {
  test(what, { skip }, () => {
    const { status, stdout, stderr } = spawnSync("promtool", command, { encoding: "utf8" });
    assert.equal(status, 0, stdout + stderr);
  });
}
