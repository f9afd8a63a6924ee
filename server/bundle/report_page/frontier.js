// Plans for the whole model: error against size, and against time.

const FRONTIER = {height: 300, left: 52, right: 16, top: 14, bottom: 252};

// Points with nothing at once nearer to FP32 and smaller.
function front(points, measure) {
  let best = Infinity;
  return [...points].sort((a, b) => measure(a) - measure(b) ||
    a.relative_error - b.relative_error).filter((point) => {
    if (point.relative_error >= best) return false;
    best = point.relative_error;
    return true;
  });
}

// Powers of ten between the errors; an exact plan lies on the ground line.
function errorScale(points) {
  const errors = points.map((one) => one.relative_error)
    .filter((error) => error > 0);
  const low = Math.floor(Math.log10(Math.min(...errors, 1)) - .3);
  const high = Math.ceil(Math.log10(Math.max(...errors, 1e-6)) + .05);
  const y = linear(low, Math.max(high, low + 1), FRONTIER.bottom - 26,
    FRONTIER.top);
  return {
    low, high,
    y: (error) => error > 0 ? y(Math.log10(error)) : FRONTIER.bottom,
  };
}

function drawErrorAxis(plot, scale, width) {
  const marks = [[0, 'exact']];
  for (let power = scale.low; power <= scale.high; ++power) {
    marks.push([10 ** power, percent(10 ** power)]);
  }
  for (const [error, label] of marks) {
    const y = scale.y(error);
    plot.append(line(FRONTIER.left, y, width - FRONTIER.right, y,
      error === 0 ? 'axis' : 'grid'),
    text(FRONTIER.left - 6, y + 4, label,
      {'text-anchor': 'end', class: 'muted'}));
  }
}

function planText(point) {
  const parts = [point.name,
    `error ${percent(point.relative_error)} of the signal` +
      (point.measured ? '' : ', predicted'),
    `mean cosine ${point.mean_row_cosine.toFixed(6)}`,
    `linear weights ${bytes(point.stored_bytes)}`];
  if (point.microseconds > 0) {
    parts.push(`linears ${duration(point.microseconds)}`);
  }
  if (point.chosen) parts.push('chosen');
  return parts.join('\n');
}

// Beside its mark, on the side with room, unless another name is there.
function placeName(taken, x, y, name, width) {
  const size = name.length * 6.4;
  const onLeft = x + size + 12 > width;
  for (const dy of y < FRONTIER.bottom ? [4, -10, 18] : [-8, -21]) {
    const box = {x: onLeft ? x - 10 - size : x + 10, y: y + dy, size};
    const clash = box.x < FRONTIER.left || taken.some((other) =>
      Math.abs(other.y - box.y) < 13 && other.x < box.x + size &&
      box.x < other.x + other.size);
    if (clash) continue;
    taken.push(box);
    return {x: box.x, y: box.y};
  }
  return null;
}

function drawFrontier(node, points, measure, format, width) {
  points = points.filter((point) => measure(point) > 0);
  if (points.length === 0) {
    node.replaceChildren(html('p', {class: 'note'},
      'Time was not measured: calibration kept no rows of inputs.'));
    return;
  }
  const plot = canvas(width, FRONTIER.height, 'Plans for the whole model');
  const error = errorScale(points);
  const most = Math.max(...points.map(measure)) * 1.06;
  const x = linear(0, most, FRONTIER.left + 8, width - FRONTIER.right);
  drawErrorAxis(plot, error, width);
  for (const value of format.ticks(most, width < 420 ? 3 : 6)) {
    plot.append(text(x(value), FRONTIER.bottom + 18, format.label(value),
      {'text-anchor': 'middle', class: 'muted'}));
  }
  plot.append(text(width - FRONTIER.right, FRONTIER.bottom + 40, format.title,
    {'text-anchor': 'end', class: 'muted'}));
  const best = front(points, measure);
  plot.append(svg('polyline', {
    class: 'front',
    points: best.map((one) => `${x(measure(one))},${error.y(
      one.relative_error)}`).join(' '),
  }));
  const taken = points.map((one) => ({
    x: x(measure(one)) - 6, y: error.y(one.relative_error) + 4, size: 12,
  }));
  // The chosen one's name takes its place first; its mark is above all others.
  const marks = [];
  for (const one of [...points].sort((a, b) => b.chosen - a.chosen)) {
    const at = [x(measure(one)), error.y(one.relative_error)];
    const series = one.measured ? 0 : 7;
    marks.unshift(explain(
      mark(...at, one.chosen ? 1 : series, one.chosen || one.measured,
        one.chosen ? 7 : 5), planText(one)));
    const name = shorten(one.name, width * .5);
    const place = one.chosen || one.measured
      ? placeName(taken, ...at, name, width) : null;
    if (place !== null) {
      plot.append(text(place.x, place.y, name,
        {class: one.chosen ? 'strong' : 'muted'}));
    }
  }
  plot.append(...marks);
  node.replaceChildren(plot);
}

const SIZE_AXIS = {
  title: 'bytes of all linear weights',
  label: (value) => bytes(value),
  ticks: (most, count) => {
    const unit = 1024 ** Math.floor(Math.log2(most) / 10);
    return ticks(0, most / unit, count).map((value) => value * unit);
  },
};
const TIME_AXIS = {
  title: 'time of all linears',
  label: (value) => duration(value),
  ticks: (most, count) => ticks(0, most, count),
};
