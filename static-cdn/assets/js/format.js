// Numbers and moments as people read them.

/** Minor units to words: currencies differ in how many digits those are (JPY 0, EUR 2, KWD 3). */
export function money(minorUnits, currency, locale) {
  try {
    const style = new Intl.NumberFormat(locale, { style: "currency", currency });
    const digits = style.resolvedOptions().maximumFractionDigits;
    if (minorUnits % 10 ** digits !== 0) return style.format(minorUnits / 10 ** digits);
    const round = { style: "currency", currency, minimumFractionDigits: 0, maximumFractionDigits: 0 };
    return new Intl.NumberFormat(locale, round).format(minorUnits / 10 ** digits);
  } catch {
    // A currency code this browser refuses must not take the page down.
    return `${(minorUnits / 100).toFixed(2)} ${currency}`;
  }
}

/** 65 000 ms → "1:05". Rounded up: "0:00" must mean that nothing is left. */
export function minutesSeconds(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  const tail = String(seconds % 60).padStart(2, "0");
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}

/** The four digits groups of a long countdown. */
export function countdownParts(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  return {
    days: Math.floor(seconds / 86400),
    hours: Math.floor(seconds / 3600) % 24,
    minutes: Math.floor(seconds / 60) % 60,
    seconds: seconds % 60,
  };
}

const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

/** A span in words, its two largest parts: "2 days 3 hours", "45 seconds". For ears rather than eyes. */
export function spanInWords(ms) {
  const parts = Object.entries(countdownParts(ms)).filter(([, n]) => n > 0);
  if (parts.length === 0) return "no time";
  return parts.slice(0, 2).map(([unit, n]) => plural(n, unit.slice(0, -1))).join(" ");
}

export const units = (n, locale) => `${new Intl.NumberFormat(locale).format(n)} ${n === 1 ? "unit" : "units"}`;

export const dayAndTime = (ms, locale) =>
  new Intl.DateTimeFormat(locale, { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" }).format(ms);

export const timeOfDay = (ms, locale) =>
  new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit" }).format(ms);

/** The end of an order id is its random part: enough to tell one's own orders apart. */
export const shortId = (id) => id.slice(-8);
