// The shop's own words and pictures for a sale. The platform knows a title and a price; what a product looks
// like is told from its title, and a sale nobody wrote about still gets a picture and a colour of its own.

const AURORA = {
  match: /\baurora\b/i,
  art: "headphones",
  hue: 246,
  lead: "Over-ear headphones in pearl and copper, with a night sky set into each cup. One small batch, sold once.",
  facts: [
    ["Quiet", "Active noise cancelling that fades with a turn of the dial."],
    ["Long", "40 hours on a charge; five minutes of charging give four."],
    ["Lasting", "Cushions, band and battery come off without tools."],
  ],
};
const PRODUCTS = [
  AURORA,
  { match: /headphone|headset|earphone/i, art: "headphones" },
  { match: /speaker|radio|soundbar/i, art: "speaker" },
  { match: /watch|chronograph/i, art: "watch" },
];

const PLAIN = {
  art: "parcel",
  lead: "A small batch, sold once, at one moment for everybody.",
  facts: [],
};

const ALT = { headphones: "Drawing of over-ear headphones", speaker: "Drawing of a portable speaker", watch: "Drawing of a wrist watch", parcel: "Drawing of a gift-wrapped parcel" };

/** The same sale has the same colour on every page and every day. */
export function hueOf(id) {
  let hash = 2166136261;
  for (const char of id) hash = Math.imul(hash ^ char.codePointAt(0), 16777619) >>> 0;
  // From teal to magenta: the drawings' copper and pearl look well on these, not on yellow or green.
  return 185 + (hash % 145);
}

export function productOf(sale) {
  const known = PRODUCTS.find(({ match }) => match.test(sale.title)) ?? {};
  const product = { ...PLAIN, hue: hueOf(sale.id), ...known };
  return { ...product, src: `/assets/art/${product.art}.svg`, alt: ALT[product.art] };
}
