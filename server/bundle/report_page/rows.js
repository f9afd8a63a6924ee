// Plots with a row per layer: errors by way to quantize, ranges by channel.

const NARROW = 600;  // below, a row's name stands above it

function rowLayout(width) {
  const narrow = width < NARROW;
  return {
    narrow,
    left: narrow ? 10 : Math.min(290, Math.round(width * .3)),
    right: width - (narrow ? 12 : 78),
    height: narrow ? 40 : 22,
    top: 2,
  };
}

// A row's stripe and name; marks are put inside. `y` is where they go.
function layerRow(layout, width, index, name, label, onChoose, chosen) {
  const top = layout.top + index * layout.height;
  const row = svg('g', {class: 'row', tabindex: 0, role: 'button'},
    svg('title', {}, label),
    rect(0, top, width, layout.height, 'stripe' + (chosen ? ' chosen' : '')));
  if (index % 2 && !chosen) row.lastChild.setAttribute('fill-opacity', .35);
  row.append(layout.narrow
    ? text(6, top + 15, shorten(name, width - 70), {})
    : text(8, top + 15, shorten(name, layout.left - 20), {}));
  const y = top + (layout.narrow ? 28 : layout.height / 2);
  row.addEventListener('click', onChoose);
  row.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      onChoose();
    }
  });
  return {row, y, top};
}

// Lines over the rows, and an axis that stays in sight above them.
function verticalGrid(plot, layout, bottom, values, scale, format) {
  const axis = svg('svg', {
    width: plot.getAttribute('width'), height: 24, class: 'top',
    'aria-hidden': 'true',
  });
  for (const value of values) {
    const x = scale(value);
    plot.append(line(x, layout.top, x, bottom, 'grid'));
    axis.append(text(x, 16, format(value),
      {class: 'muted', 'text-anchor': 'middle'}));
  }
  return axis;
}

// What is drawn of a layer's error: what was tried, or only what it has.
function errorMarks(layer) {
  if (layer.candidates.length > 0) return layer.candidates;
  if (layer.output_rows === 0) return [];
  return [{
    name: layer.scheme, output_error: layer.output_error, chosen: true,
    stored_bytes: layer.stored_bytes, microseconds: 0,
  }];
}

function candidateText(layer, candidate) {
  const parts = [layer.layer, candidate.name,
    `SQNR ${decibel(candidate.output_error.sqnr_db)}, cosine ` +
      candidate.output_error.cosine.toFixed(6),
    bytes(candidate.stored_bytes)];
  if (candidate.microseconds > 0) parts.push(duration(candidate.microseconds));
  if (candidate.chosen) parts.push('chosen');
  return parts.join('\n');
}

function drawErrors(node, report, width, series, chosen, onChoose) {
  const layers = report.layers;
  const finite = layers.flatMap((layer) => [
    ...errorMarks(layer).map((one) => one.output_error.sqnr_db),
    layer.weight_error.sqnr_db,
  ]).filter(Number.isFinite);
  const low = Math.min(30, ...finite.map((v) => Math.floor(v / 5) * 5));
  const high = Math.max(40, ...finite.map((v) => Math.ceil(v / 5) * 5));
  const layout = rowLayout(width);
  const bottom = layout.top + layers.length * layout.height;
  const plot = canvas(width, bottom + 8,
    'Output error of every layer in decibels');
  const x = linear(low, high, layout.left + 8, layout.right - 8);
  const place = (value) => x(Math.max(low, Math.min(high, value)));
  const rows = svg('g');
  layers.forEach((layer, index) => {
    const {row, y, top} = layerRow(layout, width, index, layer.layer,
      layer.layer, () => onChoose(layer.layer), layer.layer === chosen);
    const weight = layer.weight_error.sqnr_db;
    const at = place(weight);
    row.append(explain(line(at, y - 6, at, y + 6, 'tick'),
      `${layer.layer}\nweights alone ${decibel(weight)}`));
    const marks = errorMarks(layer);
    for (const one of marks.filter((m) => !m.chosen)
      .concat(marks.filter((m) => m.chosen))) {
      row.append(explain(mark(place(one.output_error.sqnr_db), y,
        series.indexOf(one.name), one.chosen), candidateText(layer, one)));
    }
    const own = marks.find((m) => m.chosen);
    if (own !== undefined) {
      row.append(text(width - 8, top + 15, decibel(own.output_error.sqnr_db),
        {'text-anchor': 'end', class: 'strong'}));
    }
    rows.append(row);
  });
  const axis = verticalGrid(plot, layout, bottom,
    ticks(low, high, layout.narrow ? 4 : 8), x, (value) => `${value} dB`);
  plot.append(rows);
  node.replaceChildren(axis, plot);
}

function threshold(layer) {
  return layer.outlier_threshold > 0 ? layer.outlier_threshold : 6;
}

function rangeText(layer) {
  const tensor = layer.activations;
  const spread = tensor.channel_absmax;
  const outliers = tensor.largest_channels
    .filter((one) => one.absmax >= threshold(layer))
    .map((one) => `${one.channel} (${short(one.absmax)})`);
  return [layer.layer, `${tensor.channels} channels, largest |x| of each:`,
    `median ${short(spread.median)}, 99 % below ${short(spread.p99)}, ` +
      `largest ${short(spread.max)}`,
    outliers.length > 0 ? `outlier channels ${outliers.join(', ')}`
      : 'no outlier channels'].join('\n');
}

function drawRange(row, layer, scale, y) {
  const spread = layer.activations.channel_absmax;
  const left = scale(spread.p25);
  row.append(
    line(scale(spread.min), y, scale(spread.max), y, 'reach'),
    rect(left, y - 5, scale(spread.p75) - left, 10, 'span'),
    line(scale(spread.median), y - 5, scale(spread.median), y + 5, 'median'));
  for (const one of [...layer.activations.largest_channels].reverse()) {
    row.append(svg('circle', {
      cx: scale(one.absmax), cy: y, r: 3.5,
      class: one.absmax >= threshold(layer) ? 'outlier' : 'channel',
    }));
  }
  const {clip_min: low, clip_max: high} = layer.activations;
  if (low === high) return;
  const clip = scale(Math.max(-low, high));
  row.append(line(clip, y - 9, clip, y + 9, 'clip'));
}

// Logarithms of 1, 2, 5, 10, .. between two others; of powers of ten alone
// where there are many.
function decades(low, high, narrow) {
  const steps = high - low > (narrow ? 1.5 : 3) ? [1] : [1, 2, 5];
  const found = [];
  for (let power = Math.floor(low); power <= high; ++power) {
    found.push(...steps.map((step) => power + Math.log10(step)));
  }
  return found.filter((one) => one >= low && one <= high);
}

function drawRanges(node, report, width, chosen, onChoose) {
  const layers = report.layers.filter((one) => one.activations.channels > 0);
  const readers = new Map();
  for (const layer of report.layers) {
    const first = layer.shares_input_with || layer.layer;
    readers.set(first, (readers.get(first) || 0) + 1);
  }
  const layout = rowLayout(width);
  const spreads = layers.map((one) => one.activations.channel_absmax);
  const largest = Math.max(...spreads.map((one) => one.max), 1e-30);
  const smallest = Math.min(largest,
    ...spreads.map((one) => one.min).filter((v) => v > 0));
  const high = Math.log10(largest) + .08;
  const low = Math.max(high - 6, Math.log10(smallest) - .15);
  const position = linear(low, high, layout.left + 8, layout.right - 8);
  const scale = (value) => position(
    value > 0 ? Math.max(low, Math.log10(value)) : low);
  const bottom = layout.top + layers.length * layout.height;
  const plot = canvas(width, bottom + 8,
    'Largest magnitudes of the input channels of every layer');
  const rows = svg('g');
  layers.forEach((layer, index) => {
    const more = readers.get(layer.layer) - 1;
    const name = more > 0 ? `${layer.layer} +${more}` : layer.layer;
    const {row, y, top} = layerRow(layout, width, index, name, rangeText(layer),
      () => onChoose(layer.layer), layer.layer === chosen);
    explain(row, rangeText(layer));
    drawRange(row, layer, scale, y);
    row.append(text(width - 8, top + 15,
      short(layer.activations.channel_absmax.max),
      {'text-anchor': 'end', class: 'strong'}));
    rows.append(row);
  });
  const axis = verticalGrid(plot, layout, bottom,
    decades(low, high, layout.narrow), position,
    (power) => short(10 ** power));
  plot.append(rows);
  node.replaceChildren(axis, plot);
}
