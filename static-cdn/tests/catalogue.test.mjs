import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { hueOf, productOf } from "../assets/js/catalogue.js";

test("known words find their drawing, all others get the parcel, and every drawing exists", () => {
  const art = (title) => productOf({ id: "x", title });
  assert.equal(art("Aurora headphones").art, "headphones");
  assert.equal(art("Tide speaker").art, "speaker");
  assert.equal(art("Copper kettle").art, "parcel");
  for (const title of ["Aurora", "A headset", "Radio", "Watch", "Else"]) {
    const { src, alt } = art(title);
    assert.ok(existsSync(new URL(`..${src}`, import.meta.url)), src);
    assert.ok(alt.length > 0);
  }
});

test("a sale keeps its colour, and different sales differ", () => {
  assert.equal(hueOf("kettle-42"), hueOf("kettle-42"));
  assert.ok(new Set(Array.from({ length: 20 }, (_, n) => hueOf(`sale-${n}`))).size > 10);
});
