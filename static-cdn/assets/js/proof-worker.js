// Solves a shop's challenge off the page's own thread: finds a number such that SHA-256 of
// "challenge:number" begins with as many zero bits as asked. The browser's own SHA-256 is asynchronous, a
// million times too much of it for this, so it is computed here.

const K = new Uint32Array(64);
const START = new Uint32Array(8);
{
  // The constants of FIPS 180-4: fractions of the roots of the first primes.
  const fraction = (x) => ((x - Math.floor(x)) * 2 ** 32) >>> 0;
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

const words = new Uint32Array(64);

/** The first word of the hash of a text of ASCII characters. */
export function firstWord(text) {
  const length = text.length;
  const blocks = (length + 8 >> 6) + 1;
  let h = Array.from(START);
  for (let block = 0; block < blocks; block += 1) {
    for (let i = 0; i < 16; i += 1) {
      let word = 0;
      for (let j = 0; j < 4; j += 1) {
        const at = block * 64 + i * 4 + j;
        word = (word << 8) | (at < length ? text.charCodeAt(at) : at === length ? 0x80 : 0);
      }
      words[i] = word;
    }
    if (block === blocks - 1) words[15] = length * 8;
    for (let i = 16; i < 64; i += 1) {
      const a = words[i - 15];
      const b = words[i - 2];
      const s0 = ((a >>> 7) | (a << 25)) ^ ((a >>> 18) | (a << 14)) ^ (a >>> 3);
      const s1 = ((b >>> 17) | (b << 15)) ^ ((b >>> 19) | (b << 13)) ^ (b >>> 10);
      words[i] = words[i - 16] + s0 + words[i - 7] + s1;
    }
    let [a, b, c, d, e, f, g, z] = h;
    for (let i = 0; i < 64; i += 1) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const t1 = (z + s1 + ((e & f) ^ (~e & g)) + K[i] + words[i]) | 0;
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [z, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
    }
    h = [h[0] + a, h[1] + b, h[2] + c, h[3] + d, h[4] + e, h[5] + f, h[6] + g, h[7] + z].map((x) => x | 0);
  }
  return h[0] >>> 0;
}

export function solve({ challenge, bits }) {
  for (let n = 0; ; n += 1) if (Math.clz32(firstWord(`${challenge}:${n}`)) >= bits) return String(n);
}

if (typeof WorkerGlobalScope !== "undefined") onmessage = ({ data }) => postMessage(solve(data));
