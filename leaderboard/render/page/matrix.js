// A mean matrix as a table with coloured cells: a row after each task, a column on each task.

// The mean over the tasks seen so far, after each task.
function seenSoFar(matrix) {
  return matrix.map((row, task) => {
    const seen = row.slice(0, task + 1);
    return seen.reduce((sum, value) => sum + value, 0) / seen.length;
  });
}

function matrixTable(matrix, caption) {
  const head = make(
    "tr",
    {},
    make("th", { scope: "col" }, "after task"),
    ...matrix.map((_, task) => make("th", { scope: "col" }, `on ${task + 1}`)),
    make("th", { scope: "col" }, "seen"),
  );
  const averages = seenSoFar(matrix);
  const rows = matrix.map((row, task) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, String(task + 1)),
      ...row.map((value, other) =>
        paint(make("td", other === task ? { class: "own" } : {}, inWords(value)), value),
      ),
      make("td", { class: "seen" }, inWords(averages[task])),
    ),
  );
  return make(
    "table",
    { class: "matrix" },
    make("caption", {}, caption),
    make("thead", {}, head),
    make("tbody", {}, ...rows),
  );
}
