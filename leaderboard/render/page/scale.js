// One scale for all matrices: where a value lies between its ends, in which colour and words.

// Eleven colours of viridis (Smith and van der Walt, CC0), from the lowest value to the highest.
const VIRIDIS = [
  [68, 1, 84],
  [72, 36, 117],
  [65, 68, 135],
  [53, 95, 141],
  [42, 120, 142],
  [33, 145, 140],
  [34, 168, 132],
  [68, 191, 112],
  [122, 209, 81],
  [189, 223, 38],
  [253, 231, 37],
];

// In [0, 1]; what lies beyond an end, as zero does on a logarithmic scale, lies at that end.
function position(value) {
  const { log, low, high } = data.scale;
  const along = log
    ? Math.log(value / low) / Math.log(high / low)
    : (value - low) / (high - low);
  return Math.min(Math.max(along, 0), 1);
}

function colourOf(value) {
  const place = position(value) * (VIRIDIS.length - 1);
  const below = Math.min(Math.floor(place), VIRIDIS.length - 2);
  return VIRIDIS[below].map((start, channel) =>
    Math.round(start + (place - below) * (VIRIDIS[below + 1][channel] - start)),
  );
}

// Black or white, whichever has the higher contrast (WCAG 2.2): at least 4.58 on any colour.
function inkOn(colour) {
  const [r, g, b] = colour.map((channel) => {
    const share = channel / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";
}

function inWords(value) {
  return data.measure === "accuracy" ? (100 * value).toFixed(1) : lossInWords(value);
}

// Three digits, with a power of ten where there would be many zeros.
function lossInWords(value) {
  if (value === 0) {
    return "0";
  }
  if (value < 1e-3 || value >= 1e6) {
    return value.toExponential(2);
  }
  return value.toFixed(Math.max(0, 2 - Math.floor(Math.log10(value))));
}

function tickInWords(value) {
  return data.measure === "accuracy" ? String(100 * value) : Number(value.toPrecision(1)).toString();
}

function paint(element, value) {
  const colour = colourOf(value);
  element.style.backgroundColor = `rgb(${colour.join(", ")})`;
  element.style.color = inkOn(colour);
  return element;
}

function scaleKey() {
  const { log, ticks } = data.scale;
  const what = data.measure === "accuracy" ? "Accuracy in percent" : "Excess loss";
  const kind = log ? "logarithmic; smaller values have the colour of the lower end" : "linear";
  return make(
    "div",
    { class: "key" },
    make("p", {}, `${what}, one scale for all strategies and sequences (${kind}):`),
    make(
      "ul",
      {},
      ...ticks.map((tick) => paint(make("li", {}, tickInWords(tick)), tick)),
    ),
  );
}
