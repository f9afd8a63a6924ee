// The values of one layer: two histograms, with the clip and what other
// calibrators would have made of it.

const HISTOGRAM = {height: 210, top: 18, left: 44, right: 12};

function countLabel(power) {
  return ['1', '10', '100', '1 k', '10 k', '100 k', '1 M', '10 M', '100 M',
    '1 G'][power] || `1e${power}`;
}

function drawCounts(plot, histogram, x, bottom) {
  const top = HISTOGRAM.top;
  const peak = Math.log10(1 + Math.max(...histogram.counts, 1));
  const y = linear(0, peak * 1.04, bottom, top);
  const right = x(histogram.max);
  for (let power = 0; power <= peak; power += peak > 5 ? 2 : 1) {
    const at = y(Math.log10(1 + 10 ** power));
    plot.append(line(HISTOGRAM.left, at, plot.viewBox.baseVal.width -
      HISTOGRAM.right, at, 'grid'),
    text(HISTOGRAM.left - 6, at + 4, countLabel(power),
      {'text-anchor': 'end', class: 'muted'}));
  }
  const step = (histogram.max - histogram.min) / histogram.counts.length;
  histogram.counts.forEach((count, i) => {
    if (count === 0) return;
    const from = x(histogram.min + i * step);
    const to = Math.min(right, x(histogram.min + (i + 1) * step));
    const height = y(Math.log10(1 + count));
    plot.append(explain(
      rect(from, height, Math.max(1, to - from - .6), bottom - height, 'bar'),
      `${count.toLocaleString('en')} values from ` +
      `${short(histogram.min + i * step)} to ` +
      short(histogram.min + (i + 1) * step)));
  });
}

function drawClip(plot, tensor, x, bottom, low, high) {
  if (tensor.clip_min === tensor.clip_max) return;
  const top = HISTOGRAM.top;
  const left = x(Math.max(low, Math.min(high, tensor.clip_min)));
  const right = x(Math.max(low, Math.min(high, tensor.clip_max)));
  plot.append(rect(x(low), top, left - x(low), bottom - top, 'beyond'),
    rect(right, top, x(high) - right, bottom - top, 'beyond'),
    line(left, top - 4, left, bottom, 'clip'),
    line(right, top - 4, right, bottom, 'clip'),
    text((left + right) / 2, top - 6, 'clip',
      {'text-anchor': 'middle', class: 'clip'}));
}

function drawBrackets(plot, calibrators, x, top, low, high) {
  calibrators.forEach((one, i) => {
    const y = top + i * 18;
    const from = x(Math.max(low, one.min));
    const to = x(Math.min(high, one.max));
    const label = `${one.calibrator.replaceAll('_', ' ')}` +
      (one.chosen ? ' (chosen)' : '');
    const path = svg('path', {
      d: `M${from},${y - 4}V${y}H${to}V${y - 4}`,
      class: 'bracket' + (one.chosen ? ' chosen' : ''),
    });
    plot.append(explain(path,
      `${one.calibrator}: ${short(one.min)} to ${short(one.max)}`),
    text((from + to) / 2, y + 12, label, {
      'text-anchor': 'middle', class: one.chosen ? 'strong' : 'muted',
    }));
  });
}

function drawHistogram(node, tensor, calibrators, width, label) {
  if (tensor.channels === 0 || tensor.histogram.counts.length === 0) {
    node.replaceChildren(html('p', {class: 'note'},
      'Nothing was kept of them.'));
    return;
  }
  const {histogram} = tensor;
  let low = Math.min(histogram.min, ...calibrators.map((one) => one.min));
  let high = Math.max(histogram.max, ...calibrators.map((one) => one.max));
  if (tensor.clip_min !== tensor.clip_max) {
    low = Math.min(low, tensor.clip_min);
    high = Math.max(high, tensor.clip_max);
  }
  const margin = (high - low) * .02 || 1;
  low -= margin;
  high += margin;
  const bottom = HISTOGRAM.height;
  const plot = canvas(width, bottom + 30 + calibrators.length * 18 +
    (calibrators.length > 0 ? 10 : 0), label);
  const x = linear(low, high, HISTOGRAM.left, width - HISTOGRAM.right);
  drawCounts(plot, histogram, x, bottom);
  drawClip(plot, tensor, x, bottom, low, high);
  plot.append(line(HISTOGRAM.left, bottom, width - HISTOGRAM.right, bottom,
    'axis'));
  for (const value of ticks(low, high, width < 420 ? 4 : 7)) {
    plot.append(text(x(value), bottom + 16, short(value),
      {'text-anchor': 'middle', class: 'muted'}));
  }
  drawBrackets(plot, calibrators, x, bottom + 34, low, high);
  node.replaceChildren(plot);
}

function facts(node, entries) {
  node.replaceChildren(...entries.filter((entry) => entry !== null)
    .flatMap(([term, value]) => [html('dt', {}, term), html('dd', {}, value)]));
}

function tensorFacts(tensor) {
  const spread = tensor.channel_absmax;
  return [
    ['range', `${short(tensor.min)} to ${short(tensor.max)}, standard ` +
      `deviation ${short(tensor.sigma)}`],
    tensor.clip_min === tensor.clip_max ? null : ['clip',
      `${short(tensor.clip_min)} to ${short(tensor.clip_max)}, ` +
      `${percent(tensor.clipped_share)} of the values are beyond it`],
    [`${tensor.channels} channels`,
      'the largest magnitude of half of them is between ' +
      `${short(spread.p25)} and ${short(spread.p75)}; of all, between ` +
      `${short(spread.min)} and ${short(spread.max)}`],
  ];
}

function drawValues(report, name) {
  const layer = report.layers.find((one) => one.layer === name);
  const source = report.layers.find(
    (one) => one.layer === layer.shares_input_with) || layer;
  const weights = document.getElementById('weights');
  const inputs = document.getElementById('activations');
  drawHistogram(weights, layer.weights, [], weights.clientWidth,
    'Histogram of the weights');
  drawHistogram(inputs, source.activations, source.calibrators,
    inputs.clientWidth, 'Histogram of the inputs');
  facts(weights.nextElementSibling, layer.weights.channels === 0 ? [] : [
    ...tensorFacts(layer.weights),
    ['rounding', `${decibel(layer.weight_error.sqnr_db)} against float`],
    layer.zero_channels === 0 ? null
      : ['all zero', `${layer.zero_channels} channels`],
  ]);
  facts(inputs.nextElementSibling, source.activations.channels === 0 ? [] : [
    ...tensorFacts(source.activations),
    source === layer ? null : ['shared with', source.layer],
    layer.outlier_columns === 0 ? null : ['in 16 bits',
      `${layer.outlier_columns} channels from |x| = ` +
      `${short(layer.outlier_threshold)}; ` +
      `${percent(layer.outlier_value_share)} of the values reach it`],
  ]);
}
