// nginx.conf as it is, before gateways that answer as told: what is kept, who is limited, who is passed over.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const isThere = (program) => !spawnSync(program, ["-v"]).error;
const skip = isThere("nginx") ? false : "nginx is not installed";
const READY_MS_MAX = 10_000;

const home = mkdtempSync(join(tmpdir(), "shop-nginx-"));
const socket = (name) => join(home, `${name}.sock`);
/** What the gateways were asked, as it was written. */
const asked = [];
let nginx = null;
let silent = null;
const open = [];

function answer(req, res) {
  asked.push({ line: `${req.method} ${req.url}`, origin: req.headers.origin });
  const allowed = req.headers.origin ? { "access-control-allow-origin": req.headers.origin } : {};
  const known = ["/s/aurora", "/api/v1/sales", "/api/v1/payments/webhook", "/admin/v1/sales"].includes(req.url.split("?")[0]);
  res.writeHead(known ? 200 : 404, { "content-type": "text/plain", "x-request-id": "g", ...allowed });
  res.end(known ? "here" : "not here");
}

/** A gateway that listens and is stopped, its queue full: whoever wants to connect hears nothing. */
async function stoppedGateway() {
  const listens = "require('net').createServer().listen({port:0,host:'127.0.0.1',backlog:1},function(){console.log(this.address().port)})";
  silent = spawn(process.execPath, ["-e", listens], { stdio: ["ignore", "pipe", "inherit"] });
  const port = Number(await new Promise((told) => silent.stdout.once("data", told)));
  silent.kill("SIGSTOP");
  for (let n = 0; n < 4; n += 1) open.push(connect(port, "127.0.0.1").on("error", () => {}));
  return `127.0.0.1:${port}`;
}

/** The same rules, at sockets of this test's own; one stranger may ask three times at once instead of 401. */
function configuration(stopped) {
  const changes = [
    [/^worker_processes 8;/m, "worker_processes 1;\ndaemon off;"],
    [/^worker_rlimit_nofile .*$/m, process.getuid?.() === 0 ? "user root root;" : ""],
    [/worker_connections 65536;/, "worker_connections 256;"],
    [/pid \/tmp\/nginx.pid;/, `pid ${home}/pid;`],
    [/^http \{/m, ["http {", ...["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((of) => `${of}_temp_path ${home}/${of};`)].join("\n")],
    [/\/etc\/nginx\/mime.types/, existsSync("/etc/nginx/mime.types") ? "/etc/nginx/mime.types" : "mime.types"],
    [/\/var\/cache\/nginx\/pages/, `${home}/pages`],
    [/\/srv\/static-cdn/, here("../../static-cdn")],
    [/listen 8080 [^;]*;/, `listen unix:${socket("public")};`],
    [/listen 8081;/, `listen unix:${socket("operators")};`],
    [/server gateway-1:8080/, `server unix:${socket("gateway")}`],
    [/server gateway-2:8080.*$/m, ""],
    [/server gateway-1:8081/, `server ${stopped}`],
    [/server gateway-2:8081/, `server unix:${socket("gateway")}`],
    [/rate=200r\/s/, "rate=1r/m"],
    [/zone=strangers burst=400/, "zone=strangers burst=2"],
  ];
  const text = changes.reduce((conf, [from, to]) => {
    assert.match(conf, from, "the test no longer fits nginx.conf");
    return conf.replace(from, to);
  }, readFileSync(here("../nginx/nginx.conf"), "utf8"));
  const file = join(home, "nginx.conf");
  writeFileSync(file, text);
  return file;
}

/** `path` goes out as it is written here. */
function ask(path, { method = "GET", headers = {}, to = "public" } = {}) {
  return new Promise((done, failed) => {
    const asking = request({ socketPath: socket(to), path, method, headers }, (res) => {
      let body = "";
      res.on("data", (piece) => (body += piece));
      res.on("end", () => done({ status: res.statusCode, headers: res.headers, body }));
    });
    asking.on("error", failed);
    asking.end();
  });
}
const signedIn = { authorization: "Bearer t" };

before(async () => {
  if (skip) return;
  const gateway = createServer(answer);
  await new Promise((ready) => gateway.listen(socket("gateway"), ready));
  open.push(gateway);
  chmodSync(socket("gateway"), 0o777);
  nginx = spawn("nginx", ["-p", home, "-c", configuration(await stoppedGateway()), "-e", "stderr"], { stdio: ["ignore", "inherit", "inherit"] });
  const until = Date.now() + READY_MS_MAX;
  while (!existsSync(socket("operators"))) {
    assert.ok(Date.now() < until && nginx.exitCode === null, "nginx does not start");
    await new Promise(setImmediate);
  }
});
after(async () => {
  if (nginx?.exitCode === null) await new Promise((gone) => (nginx.once("exit", gone), nginx.kill("SIGTERM")));
  silent?.kill("SIGKILL");
  for (const one of open) one.close?.() ?? one.destroy?.();
  rmSync(home, { recursive: true });
});

test("however a sale's path is written, only the sale's own answer is kept for it", { skip }, async () => {
  for (const path of ["/s//aurora", "/s/x/../aurora", "/s/./aurora", "//s/aurora", "/s/%61urora", "/s/aurora%3Fa", "/s/aurora/"]) {
    await ask(path, { headers: signedIn });
    const { status } = await ask("/s/aurora", { headers: signedIn });
    assert.equal(status, 200, `after ${path}`);
  }
  const lines = asked.filter(({ line }) => line.includes("/s")).map(({ line }) => line);
  assert.deepEqual(lines, ["GET /s/aurora"], "asked for once, by its plain path");
});

test("a kept page is the same for every query and every origin", { skip }, async () => {
  const first = await ask("/s/aurora?from=mail", { headers: { ...signedIn, origin: "https://one.example", "accept-encoding": "br" } });
  assert.equal(first.status, 200);
  assert.equal(first.headers["access-control-allow-origin"], undefined);
  assert.equal(asked.at(-1).line, "GET /s/aurora");
});

test("what is no sale's id is not there, and no gateway is asked", { skip }, async () => {
  const before = asked.length;
  for (const path of ["/s/", "/s/Aurora", "/s/a/b", `/s/${"a".repeat(65)}`, "/s/a.b"]) {
    assert.equal((await ask(path, { headers: signedIn })).status, 404, path);
  }
  assert.equal(asked.length, before);
});

test("strangers of one address are limited, and neither buyers nor webhooks nor preflights with them", { skip }, async () => {
  const statuses = async (path, options) => (await Promise.all(Array.from({ length: 12 }, () => ask(path, options)))).map(({ status }) => status);
  assert.equal((await statuses("/api/v1/sales")).filter((status) => status === 429).length, 9);
  const others = [
    ["/api/v1/sales", { headers: signedIn }, 200],
    ["/api/v1/payments/webhook", { method: "POST" }, 200],
    ["/api/v1/buy/x/tickets", { method: "OPTIONS", headers: { origin: "https://shop.example" } }, 404],
  ];
  for (const [path, options, expected] of others) {
    assert.deepEqual([...new Set(await statuses(path, options))], [expected], path);
  }
  assert.equal((await ask("/api/v1/sales")).status, 429, "and still are");
});

test("only the webhook's own path has its allowance", { skip }, async () => {
  await ask("/api/v1/sales/../payments/webhook", { method: "POST" });
  assert.equal(asked.at(-1).line, "POST /api/v1/payments/webhook");
});

test("operators are answered by the other gateway while one is stopped", { skip }, async () => {
  for (let n = 0; n < 2; n += 1) assert.equal((await ask("/admin/v1/sales", { to: "operators", headers: signedIn })).status, 200);
});
