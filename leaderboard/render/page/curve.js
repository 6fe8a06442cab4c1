// Lines over the tasks, on the scale of the matrices: the strategy, and dashed the reference.

const CURVE = { width: 320, height: 150, left: 44, right: 10, top: 8, bottom: 24 };
const MOST_TASK_LABELS = 10;

function curveSvg(series, label) {
  const count = series[0].values.length;
  const svg = makeSvg("svg", {
    viewBox: `0 0 ${CURVE.width} ${CURVE.height}`,
    role: "img",
    "aria-label": label,
  });
  svg.append(...levelLines(), ...taskLabels(count));
  for (const { kind, values } of series) {
    const points = values.map((value, task) => [acrossOf(task, count), heightOf(value)]);
    svg.append(makeSvg("polyline", { class: kind, points: points.join(" ") })); // x,y x,y ...
    svg.append(...points.map(([cx, cy]) => makeSvg("circle", { class: kind, cx, cy, r: 2.5 })));
  }
  return svg;
}

function acrossOf(task, count) {
  const space = CURVE.width - CURVE.left - CURVE.right;
  return CURVE.left + (space * (task + 0.5)) / count;
}

function heightOf(value) {
  const space = CURVE.height - CURVE.top - CURVE.bottom;
  return CURVE.top + space * (1 - position(value));
}

function levelLines() {
  return data.scale.ticks.flatMap((tick) => {
    const y = heightOf(tick);
    const right = CURVE.width - CURVE.right;
    return [
      makeSvg("line", { x1: CURVE.left, x2: right, y1: y, y2: y }),
      makeSvg("text", { x: CURVE.left - 6, y: y + 4, class: "level" }, tickInWords(tick)),
    ];
  });
}

function taskLabels(count) {
  const every = Math.ceil(count / MOST_TASK_LABELS);
  return [...Array(count).keys()]
    .filter((task) => task % every === 0)
    .map((task) => {
      const place = { x: acrossOf(task, count), y: CURVE.height - 6, class: "task" };
      return makeSvg("text", place, String(task + 1));
    });
}
