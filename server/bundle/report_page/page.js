// Reads the data and fills the page; draws again when its width changes.

const DATA = readData();

// What JSON cannot say as a number stands there as a string.
function readData() {
  const special = ['Infinity', '-Infinity', 'NaN'];
  const numeric = new Set(['sqnr_db', 'cosine', 'max_error', 'relative_error',
    'mean_row_cosine', 'worst_row_cosine', 'reached', 'limit', 'min', 'max']);
  return JSON.parse(document.getElementById('data').textContent,
    (key, value) => numeric.has(key) && special.includes(value)
      ? Number(value) : value);
}

function tile(title, figure, detail, picture = null) {
  return html('div', {class: 'tile'}, html('h3', {}, title),
    html('div', {class: 'figure'}, figure),
    html('p', {class: 'detail'}, detail), picture);
}

// How much of what there was is left.
function remainder(part, whole, label) {
  const plot = canvas(160, 8, label);
  plot.append(svg('rect', {width: 160, height: 8, rx: 4, class: 'whole'}),
    svg('rect', {
      width: Math.max(4, Math.min(1, part / whole) * 160), height: 8, rx: 4,
      class: 'part',
    }));
  return plot;
}

function sizeTile(title, part, whole) {
  const ratio = part > 0 ? (whole / part).toFixed(2) : '-';
  return tile(title, bytes(part),
    `${bytes(whole)} in FP32: ${ratio} times less`,
    remainder(part, whole, `${percent(part / whole)} of FP32`));
}

const BUDGETS = {
  min_mean_cosine: 'Mean cosine, at least',
  min_worst_cosine: 'Worst cosine, at least',
  max_relative_error: 'Error of the output, at most',
  max_bytes: 'Size, at most',
  max_size_ratio: 'Share of the FP32 size, at most',
};

function budgetTile(budget) {
  const format = budget.measure === 'max_bytes' ? bytes
    : (value) => String(Number(value.toPrecision(6)));
  const figure = html('span', {class: budget.held ? 'held' : 'missed'},
    budget.held ? 'held' : 'missed');
  return tile('Budget', figure,
    `${BUDGETS[budget.measure] || budget.measure} ${format(budget.limit)}; ` +
    `reached ${format(budget.reached)}`);
}

function fillOverview(report) {
  const int8 = report.layers.filter(
    (one) => !['fp32', 'fp16', 'bf16'].includes(one.scheme)).length;
  const tiles = [
    sizeTile('Linear weights', report.linear_stored_bytes,
      report.linear_float_bytes),
    sizeTile('Whole bundle', report.bundle_bytes, report.checkpoint_bytes),
    tile('Layers in INT8', `${int8} of ${report.layers.length}`,
      `policy ${report.policy}`),
  ];
  if (report.model_rows > 0) {
    tiles.push(tile('Output against FP32', report.mean_row_cosine.toFixed(5),
      `mean cosine; worst of ${report.model_rows} rows ` +
      report.worst_row_cosine.toFixed(5)),
    tile('Output error', decibel(report.model_error.sqnr_db),
      `SQNR; largest difference ${short(report.model_error.max_error)}`));
  }
  tiles.push(...report.budgets.map(budgetTile));
  document.getElementById('overview').replaceChildren(...tiles);
}

function fillOrigin() {
  const {report, provenance} = DATA;
  const parts = [`Made of ${provenance.checkpoint}`];
  if (provenance.calibration) {
    parts.push(`calibrated by ${provenance.calibration} on ` +
      `${report.calibration_samples} samples`);
  }
  parts.push(`by Octet ${provenance.octet_version} at ` +
    provenance.create_time.replace('T', ' ').replace(/(Z|\+00:00)$/, ' UTC'));
  const obstacle = DATA.compressed_tensors;
  const text = `${parts.join(', ')}. ` + (obstacle
    ? `It has no compressed-tensors form: ${obstacle}.`
    : 'Other engines load it as compressed-tensors.');
  document.getElementById('origin').textContent = text;
  if (report.warnings.length > 0) {
    document.getElementById('warnings').append(html('ul', {},
      ...report.warnings.map((warning) => html('li', {}, warning))));
  }
}

function methods(layer) {
  const parts = [];
  if (layer.smoothing_alpha >= 0) {
    parts.push(`smoothed ${short(layer.smoothing_alpha)}` +
      (layer.smoothing_folded_into ? ' (folded)' : ''));
  }
  if (layer.hadamard_block > 0) parts.push(`rotated ${layer.hadamard_block}`);
  if (layer.group_size > 0) parts.push(`groups of ${layer.group_size}`);
  if (layer.rounding && layer.rounding !== 'nearest') {
    parts.push(layer.rounding);
  }
  if (layer.bias_correction) parts.push('bias corrected');
  return parts.join(', ');
}

const measured = (layer, value) => layer.output_rows > 0 ? value : NaN;
const COLUMNS = [
  ['Layer', (one) => one.layer],
  ['Shape', (one) => one.out_features * one.in_features,
    (one) => `${one.out_features} × ${one.in_features}`],
  ['Scheme', (one) => one.scheme],
  ['Methods', methods],
  ['Weight SQNR', (one) => one.weight_error.sqnr_db,
    (one) => decibel(one.weight_error.sqnr_db)],
  ['Output SQNR', (one) => measured(one, one.output_error.sqnr_db),
    (one) => one.output_rows > 0 ? decibel(one.output_error.sqnr_db) : '-'],
  ['Output cosine', (one) => measured(one, one.output_error.cosine),
    (one) => one.output_rows > 0 ? one.output_error.cosine.toFixed(6) : '-'],
  ['Outliers', (one) => one.outlier_columns, (one) => one.outlier_columns],
  ['Stored', (one) => one.stored_bytes, (one) => bytes(one.stored_bytes)],
  ['Why float', (one) => one.reason],
];

function compare(a, b) {
  if (typeof a === 'string') return a.localeCompare(b, 'en', {numeric: true});
  if (Number.isNaN(a) || Number.isNaN(b)) {
    return Number.isNaN(a) - Number.isNaN(b);
  }
  return a < b ? -1 : Number(a > b);
}

function fillTable(report) {
  // Columns that are the same everywhere, and empty, say nothing.
  const shown = COLUMNS.filter(([, value]) => report.layers.some(
    (one) => value(one) !== '' && value(one) !== 0));
  const body = html('tbody');
  const show = (layers) => body.replaceChildren(...layers.map((layer) =>
    html('tr', {}, ...shown.map(([, value, format]) => format
      ? html('td', {class: 'number'}, String(format(layer)))
      : html('td', {}, value(layer))))));
  let last = null;
  let sign = 1;
  const head = html('tr', {}, ...shown.map(([title, value, format]) => {
    const button = html('button', {type: 'button'}, title);
    button.addEventListener('click', () => {
      sign = last === title ? -sign : 1;
      last = title;
      show([...report.layers].sort(
        (a, b) => sign * compare(value(a), value(b))));
    });
    return html('th', {scope: 'col', class: format ? 'number' : ''}, button);
  }));
  show(report.layers);
  document.querySelector('#table .wide').replaceChildren(
    html('table', {}, html('thead', {}, head), body));
}

function fillLegends(report, series) {
  const at = (node) => svg('g', {transform: 'translate(9,7)'}, node);
  legend(document.querySelector('#errors .legend'), [
    ...series.map((name, i) => [at(mark(0, 0, i, true)), name]),
    [at(line(0, -6, 0, 6, 'tick')), 'the weights alone'],
  ]);
  const dot = (className) => at(svg('circle', {r: 4, class: className}));
  legend(document.querySelector('#ranges .legend'), [
    [at(rect(-8, -5, 16, 10, 'span')), 'middle half of the channels'],
    [at(line(0, -5, 0, 5, 'median')), 'median channel'],
    [dot('channel'), 'a large channel'], [dot('outlier'), 'an outlier channel'],
    [at(line(0, -7, 0, 7, 'clip')), 'clip of a static scale'],
  ]);
  const plans = [[at(mark(0, 0, 1, true, 6)), 'this bundle'],
    [at(mark(0, 0, 0, true)), 'measured on the whole model']];
  if (report.frontier.some((point) => !point.measured)) {
    plans.push([at(mark(0, 0, 7, false)), 'predicted from its layers']);
  }
  legend(document.querySelector('#frontier .legend'), plans);
}

// The layer that loses most is the one to look at first.
function worstLayer(report) {
  const known = report.layers.filter((one) => one.output_rows > 0 &&
    one.weights.channels > 0);
  return (known.length > 0 ? known : report.layers).reduce((worst, one) =>
    one.output_error.sqnr_db < worst.output_error.sqnr_db ? one : worst).layer;
}

class Page {
  constructor(report) {
    this.report = report;
    this.series = [...new Set(report.layers.flatMap(
      (layer) => errorMarks(layer).map((one) => one.name)))];
    this.layer = worstLayer(report);
    this.select = document.getElementById('layer');
    this.select.replaceChildren(...report.layers.map(
      (one) => html('option', {value: one.layer}, one.layer)));
    this.select.addEventListener('change',
      () => this.choose(this.select.value));
    for (const [id, step] of [['previous', -1], ['next', 1]]) {
      document.getElementById(id).addEventListener('click', () => {
        const count = report.layers.length;
        const index = (this.select.selectedIndex + step + count) % count;
        this.choose(report.layers[index].layer);
      });
    }
    fillLegends(report, this.series);
    this.hideWhatIsNotKnown();
  }

  hideWhatIsNotKnown() {
    const {layers, frontier} = this.report;
    document.getElementById('ranges').hidden =
      !layers.some((one) => one.activations.channels > 0);
    document.getElementById('values').hidden = !layers.some(
      (one) => one.weights.channels > 0 || one.activations.channels > 0);
    document.getElementById('frontier').hidden = frontier.length < 2;
  }

  // Rows are drawn anew; the keyboard stays where it was.
  choose(layer) {
    const plot = document.activeElement.closest('.plot');
    this.layer = layer;
    this.draw();
    const stripe = plot && plot.querySelector('.stripe.chosen');
    if (stripe) stripe.parentNode.focus({preventScroll: true});
  }

  draw() {
    const report = this.report;
    this.select.value = this.layer;
    const choose = (layer) => this.choose(layer);
    const errors = document.querySelector('#errors .plot');
    drawErrors(errors, report, errors.clientWidth, this.series, this.layer,
      choose);
    const ranges = document.querySelector('#ranges .plot');
    if (ranges.clientWidth > 0) {
      drawRanges(ranges, report, ranges.clientWidth, this.layer, choose);
    }
    if (!document.getElementById('values').hidden) {
      drawValues(report, this.layer);
    }
    const size = document.getElementById('by-size');
    if (size.clientWidth === 0) return;
    drawFrontier(size, report.frontier, (one) => one.stored_bytes, SIZE_AXIS,
      size.clientWidth);
    const time = document.getElementById('by-time');
    drawFrontier(time, report.frontier, (one) => one.microseconds, TIME_AXIS,
      time.clientWidth);
  }
}

function start() {
  fillOrigin();
  fillOverview(DATA.report);
  if (DATA.report.layers.length === 0) return;
  fillTable(DATA.report);
  const page = new Page(DATA.report);
  page.draw();
  let width = document.body.clientWidth;
  addEventListener('resize', () => {
    if (document.body.clientWidth === width) return;
    width = document.body.clientWidth;
    page.draw();
  });
}

start();
