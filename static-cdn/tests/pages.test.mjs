// House rules of the pages: nothing inline, nothing from elsewhere, nothing missing, and a size they keep to.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const read = (path) => readFileSync(join(root, path), "utf8");
const FIRST_VIEW_BYTES_MAX = 100_000;
const MODULE_LINES_MAX = 200;
const pages = ["index.html", "sale.html", "busy.html", "404.html"];

// Loaded by a press, or when there is an order or a waiting room: no part of a first view.
const ON_DEMAND = ["account", "entry", "order-stream", "room", "room-view"];

/** A module and everything it imports, however indirectly. */
function modules(path, found = new Set()) {
  if (found.has(path)) return found;
  found.add(path);
  for (const [, name] of read(path).matchAll(/(?:from|^import) "\.\/([\w-]+\.js)"/gm)) modules(`assets/js/${name}`, found);
  return found;
}
const linked = (html) => [...html.matchAll(/(?:src|href)="\/(assets\/[^"]+)"/g)].map(([, path]) => path);

for (const page of pages) {
  test(`${page} keeps to the content security policy and asks nobody else`, () => {
    const html = read(page);
    assert.doesNotMatch(html, /<style|\sstyle=|\son\w+=|javascript:/i);
    assert.doesNotMatch(html, /<script(?![^>]*\ssrc=)/i);
    assert.doesNotMatch(html, /(?:https?:)?\/\/[a-z]/i);
    for (const path of linked(html)) assert.ok(existsSync(join(root, path)), path);
  });
}

for (const [page, entry] of [["sale.html", "sale-page"], ["index.html", "index-page"]]) {
  test(`${page} preloads exactly the modules it needs, so that none waits for another`, () => {
    const preloaded = [...read(page).matchAll(/modulepreload" href="\/([^"]+)"/g)].map(([, path]) => path);
    const needed = [...modules(`assets/js/${entry}.js`)].filter((path) => !path.endsWith(`${entry}.js`));
    assert.deepEqual(preloaded.sort(), needed.sort());
  });

  test(`the first view of ${page} stays small`, () => {
    const art = readdirSync(join(root, "assets/art")).map((name) => Buffer.byteLength(read(`assets/art/${name}`)));
    const files = new Set([page, ...linked(read(page)), ...modules(`assets/js/${entry}.js`)]);
    const bytes = [...files].reduce((sum, path) => sum + Buffer.byteLength(read(path)), Math.max(...art));
    assert.ok(bytes < FIRST_VIEW_BYTES_MAX, `${bytes} bytes`);
  });
}

test("modules are small, imported by somebody, and draw text as text", () => {
  const used = new Set([...modules("assets/js/sale-page.js"), ...modules("assets/js/index-page.js"), "assets/js/busy.js", "assets/js/proof-worker.js", ...ON_DEMAND.flatMap((name) => [...modules(`assets/js/${name}.js`)])]);
  for (const name of readdirSync(join(root, "assets/js"))) {
    const text = read(`assets/js/${name}`);
    assert.ok(text.split("\n").length <= MODULE_LINES_MAX, name);
    assert.ok(used.has(`assets/js/${name}`), `${name} is used nowhere`);
    assert.doesNotMatch(text, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(/, name);
  }
});

test("drawings carry no script and no style of their own", () => {
  for (const name of readdirSync(join(root, "assets/art"))) assert.doesNotMatch(read(`assets/art/${name}`), /<script|<style|style=|href="http/i, name);
});

test("what is loaded on demand is imported so, and is no part of the sale's first view", () => {
  const first = modules("assets/js/sale-page.js");
  const all = readdirSync(join(root, "assets/js")).map((name) => read(`assets/js/${name}`)).join();
  for (const name of ON_DEMAND) {
    assert.ok(!first.has(`assets/js/${name}.js`), name);
    assert.match(all, new RegExp(`onDemand\\("${name}"`), name);
  }
});

test("what is loaded on demand needs nothing that is not there: a browser asks for a lost import never again", () => {
  const first = modules("assets/js/sale-page.js");
  for (const name of ON_DEMAND) {
    for (const path of modules(`assets/js/${name}.js`)) assert.ok(path.endsWith(`/${name}.js`) || first.has(path), `${name} needs ${path}`);
  }
});

for (const [page, entry] of [["sale.html", "sale-page"], ["index.html", "index-page"]]) {
  test(`${page} offers a reload when its modules do not come`, () => {
    assert.match(read(page), /<p class="stalled">[^<]+<a href="">/);
    assert.match(read(`assets/js/${entry}.js`), /document\.body\.dataset\.ready = /);
    const css = read("assets/css/shop.css");
    assert.match(css, /\[data-ready\] \.stalled \{ display: none; \}/);
    assert.match(css, /\.stalled \{[^}]*animation: stalled 0s 12s forwards !important/, "also where motion is unwanted");
  });

  test(`${page} promises nobody a place for being first`, () => assert.doesNotMatch(read(page), /first come/i));
}
