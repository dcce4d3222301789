// Solves a shop's challenge off the page's own thread: finds a text such that SHA-256 of "challenge:text" begins
// with as many zero bits as asked. The browser's own SHA-256 is asynchronous, a million times too much of it for
// this, so it is computed here, and as quickly as may be: it is a phone that works, and its owner who waits.

const K = new Int32Array(64);
const START = new Int32Array(8);
{
  // The constants of FIPS 180-4: fractions of the roots of the first primes.
  const fraction = (x) => ((x - Math.floor(x)) * 2 ** 32) | 0;
  let n = 0;
  for (let p = 2; n < 64; p += 1) {
    let prime = true;
    for (let d = 2; d * d <= p; d += 1) if (p % d === 0) prime = false;
    if (!prime) continue;
    if (n < 8) START[n] = fraction(Math.sqrt(p));
    K[n] = fraction(Math.cbrt(p));
    n += 1;
  }
}

const words = new Int32Array(64);

/** Lays block number `block` of a text of ASCII characters out in `words`, with the padding where the text ends. */
function lay(text, block) {
  const length = text.length;
  for (let i = 0; i < 16; i += 1) {
    let word = 0;
    for (let j = 0; j < 4; j += 1) {
      const at = block * 64 + i * 4 + j;
      word = (word << 8) | (at < length ? text.charCodeAt(at) : at === length ? 0x80 : 0);
    }
    words[i] = word;
  }
  if (block * 64 > length - 56) words[15] = length * 8;
}

/** Takes the block in `words` into `state`. Plain local numbers, cut to 32 bits as they are added: nothing else is as quick. */
function take(state) {
  for (let i = 16; i < 64; i += 1) {
    const x = words[i - 15];
    const y = words[i - 2];
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    words[i] = ((words[i - 16] + s0) | 0) + ((words[i - 7] + s1) | 0);
  }
  let a = state[0];
  let b = state[1];
  let c = state[2];
  let d = state[3];
  let e = state[4];
  let f = state[5];
  let g = state[6];
  let h = state[7];
  for (let i = 0; i < 64; i += 1) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const t1 = (((h + s1) | 0) + (((g ^ (e & (f ^ g))) + ((K[i] + words[i]) | 0)) | 0)) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const t2 = (s0 + ((a & b) | (c & (a | b)))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
  state[5] += f;
  state[6] += g;
  state[7] += h;
}

/** The state of SHA-256 after some blocks of a text; without a number, after all of them. */
export function stateAfter(text, blocks = ((text.length + 8) >> 6) + 1) {
  const state = Int32Array.from(START);
  for (let block = 0; block < blocks; block += 1) {
    lay(text, block);
    take(state);
  }
  return state;
}

/** Four letters from a to p, for the four lowest hexadecimal digits of `n`, as a word of the hash. */
const letters = (n) => 0x61616161 + (((n & 0xf000) << 12) | ((n & 0xf00) << 8) | ((n & 0xf0) << 4) | (n & 0xf));
const spell = (word) => String.fromCharCode(word >>> 24, (word >>> 16) & 0xff, (word >>> 8) & 0xff, word & 0xff);

/**
 * Counts in eight letters. Filled up to where they are two words of the last block, the text is the same before and
 * after them: all blocks but the last are hashed once, and in the last one two words change.
 */
export function solve({ challenge, bits }) {
  let fixed = `${challenge}:`;
  while (fixed.length % 4 !== 0 || fixed.length % 64 > 44) fixed += "-";
  const last = fixed.length >> 6;
  const at = (fixed.length % 64) / 4;
  const middle = stateAfter(fixed, last);
  const state = new Int32Array(8);
  lay(`${fixed}aaaaaaaa`, last);
  for (let n = 0; ; n += 1) {
    words[at] = letters(n >>> 16);
    words[at + 1] = letters(n);
    state.set(middle);
    take(state);
    if (Math.clz32(state[0]) >= bits) return fixed.slice(challenge.length + 1) + spell(words[at]) + spell(words[at + 1]);
  }
}

if (typeof WorkerGlobalScope !== "undefined") onmessage = ({ data }) => postMessage(solve(data));
