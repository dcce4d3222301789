import assert from "node:assert/strict";
import { test } from "node:test";
import { countdownParts, minutesSeconds, money, shortId, spanInWords, units } from "../assets/js/format.js";

const plain = (text) => text.replace(/[\u00a0\u202f]/g, " ");

test("minor units follow the currency", () => {
  assert.equal(money(19_900, "EUR", "en-GB"), "€199");
  assert.equal(money(19_950, "EUR", "en-GB"), "€199.50");
  assert.equal(money(12_800, "JPY", "en-US"), "¥12,800");
  assert.equal(plain(money(1_234, "KWD", "en-US")), "KWD 1.234");
  assert.equal(plain(money(8_905, "EUR", "de-DE")), "89,05 €");
});

test("a currency the browser refuses still shows a price", () => {
  assert.equal(money(500, "??", "en-GB"), "5.00 ??");
});

test("a countdown says zero only when nothing is left", () => {
  assert.equal(minutesSeconds(1), "0:01");
  assert.equal(minutesSeconds(0), "0:00");
  assert.equal(minutesSeconds(-5), "0:00");
  assert.equal(minutesSeconds(299_001), "5:00");
  assert.equal(minutesSeconds(3_723_000), "1:02:03");
});

test("long countdowns come apart into days, hours, minutes, seconds", () => {
  assert.deepEqual(countdownParts(90_061_000), { days: 1, hours: 1, minutes: 1, seconds: 1 });
  assert.deepEqual(countdownParts(-1), { days: 0, hours: 0, minutes: 0, seconds: 0 });
});

test("spans are spoken by their two largest parts", () => {
  assert.equal(spanInWords(300_000), "5 minutes");
  assert.equal(spanInWords(61_000), "1 minute 1 second");
  assert.equal(spanInWords(0), "no time");
});

test("one unit, several units", () => {
  assert.equal(units(1, "en-GB"), "1 unit");
  assert.equal(units(1_200, "en-GB"), "1,200 units");
  assert.equal(shortId("0192aaaa-bbbb-7ccc-8ddd-eeeeffff0000"), "ffff0000");
});
