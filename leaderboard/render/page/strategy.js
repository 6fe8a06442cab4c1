// The view of one strategy: chosen in the list, or named in the address as #strategy=name.

const chooser = document.getElementById("choose-strategy");
const MEASURED = data.measure === "accuracy" ? "accuracy" : "excess loss";

function showStrategy(name) {
  const about = document.getElementById("strategy-about");
  const scale = document.getElementById("strategy-scale");
  const view = document.getElementById("strategy-view");
  const isKnown = data.strategies.includes(name);
  chooser.value = isKnown ? name : "";
  about.textContent = isKnown ? aboutStrategy(name) : name && `There is no strategy "${name}".`;
  scale.replaceChildren(...(isKnown ? [scaleKey()] : []));
  view.replaceChildren(...(isKnown ? strategyCards(name) : []));
}

function aboutStrategy(name) {
  const count = Object.values(data.matrices).filter((found) => Object.hasOwn(found, name)).length;
  const unit = data.measure === "accuracy" ? " in percent" : "";
  return (
    `${name} on ${count} of ${Object.keys(data.matrices).length} sequences: mean ${MEASURED}${unit} ` +
    "over its seeds on each task (columns) after training each task (rows); framed, on the task " +
    "just trained; beyond the frame, tasks not trained yet; seen, the mean over the tasks so far, " +
    "which the line below shows."
  );
}

function strategyCards(name) {
  return Object.entries(data.matrices)
    .filter(([, found]) => Object.hasOwn(found, name))
    .map(([sequence, found]) => strategyCard(name, sequence, found));
}

function strategyCard(name, sequence, found) {
  const { tier, grade } = data.sequences[sequence];
  const part = data.partial[sequence][name];
  const whole = part ? `, ${part[0]} of ${part[1]} seeds, the others diverged` : "";
  const caption = `${name} on ${sequence}: ${MEASURED}`;
  const series = [{ name, kind: "chosen", values: seenSoFar(found[name]) }];
  if (name !== data.reference && Object.hasOwn(found, data.reference)) {
    const values = seenSoFar(found[data.reference]);
    series.unshift({ name: data.reference, kind: "reference", values });
  }
  const told = series.map((one) => `${one.name} ${one.values.map(inWords).join(", ")}`).join("; ");
  const label = `Mean ${MEASURED} over the tasks seen so far, after each task: ${told}`;
  return make(
    "article",
    { class: "card" },
    make("h3", {}, sequence),
    make("p", { class: "about" }, `suite ${tier}, grade ${grade}${whole}`),
    make(
      "div",
      { class: "scroll", role: "group", tabindex: "0", "aria-label": caption },
      matrixTable(found[name], caption),
    ),
    make("figure", {}, curveSvg(series, label), make("figcaption", {}, ...curveWords(series))),
  );
}

function curveWords(series) {
  const words = [`Mean ${MEASURED} on the tasks seen so far`];
  if (series.length > 1) {
    words.push("; ", make("span", { class: "dashed" }, `dashed: ${data.reference}`));
  }
  return words;
}

function namedInAddress() {
  const found = /^#strategy=(.*)$/.exec(location.hash);
  try {
    return found && decodeURIComponent(found[1]);
  } catch {
    return found[1]; // a stray percent sign
  }
}

function followAddress() {
  const name = namedInAddress();
  if (name !== null) {
    showStrategy(name);
    const heading = document.getElementById("strategy");
    heading.scrollIntoView();
    heading.focus({ preventScroll: true });
  }
}

chooser.addEventListener("change", () => {
  showStrategy(chooser.value);
  history.replaceState(null, "", `#strategy=${encodeURIComponent(chooser.value)}`);
});
showStrategy("");
followAddress();
addEventListener("hashchange", followAddress);
document.addEventListener("click", (event) => {
  // a link to the address where we are already raises no hashchange
  if (event.target.closest("a")?.getAttribute("href") === location.hash) {
    followAddress();
  }
});
