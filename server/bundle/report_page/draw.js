// Elements, scales, axes, numbers and the tip that follows the pointer. Text
// only ever enters the page as text: a layer's name is a stranger's.
'use strict';

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

function html(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  const space = 'http://www.w3.org/2000/svg';
  return fill(document.createElementNS(space, tag), attributes, children);
}

function canvas(width, height, label) {
  return svg('svg', {
    width, height, viewBox: `0 0 ${width} ${height}`, role: 'img',
    'aria-label': label,
  });
}

function text(x, y, content, attributes = {}) {
  return svg('text', {x, y, ...attributes}, String(content));
}

function line(x1, y1, x2, y2, className) {
  return svg('line', {x1, y1, x2, y2, class: className});
}

function rect(x, y, width, height, className) {
  return svg('rect', {
    x, y, width: Math.max(0, width), height: Math.max(0, height),
    class: className,
  });
}

function linear(low, high, from, to) {
  const span = high - low || 1;
  return (value) => from + (value - low) / span * (to - from);
}

// Round numbers, about `count` of them, inside [low, high].
function ticks(low, high, count) {
  const rough = (high - low) / Math.max(1, count);
  if (!(rough > 0) || !Number.isFinite(rough)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= rough);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9;
    ++i) {
    found.push(i * step);
  }
  return found;
}

function short(value) {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(1);
  return String(Number(value.toPrecision(size >= 1000 ? 4 : 3)));
}

function bytes(count) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (count >= 1024 && unit + 1 < units.length) {
    count /= 1024;
    ++unit;
  }
  return `${unit === 0 ? count : count.toFixed(1)} ${units[unit]}`;
}

function percent(share) {
  if (share === 0) return '0 %';
  return share < 1e-4 ? `${(share * 100).toExponential(1)} %`
    : `${Number((share * 100).toPrecision(3))} %`;
}

function decibel(value) {
  return value === Infinity ? 'exact' : `${value.toFixed(1)} dB`;
}

function duration(microseconds) {
  return microseconds < 1000 ? `${short(microseconds)} µs`
    : `${short(microseconds / 1000)} ms`;
}

// Names of layers differ at both ends.
function shorten(name, width) {
  const letters = Math.max(8, Math.floor(width / 6.6));
  if (name.length <= letters) return name;
  const head = Math.ceil((letters - 1) / 2);
  return name.slice(0, head) + '…' + name.slice(head + 1 - letters);
}

// Shapes tell series apart where colours do not.
const SHAPES = [
  (r) => `M${-r},0A${r},${r} 0 1 0 ${r},0A${r},${r} 0 1 0 ${-r},0Z`,
  (r) => `M${-r},${-r}H${r}V${r}H${-r}Z`,
  (r) => `M0,${-1.25 * r}L${1.2 * r},${r}H${-1.2 * r}Z`,
  (r) => `M0,${-1.4 * r}L${1.4 * r},0L0,${1.4 * r}L${-1.4 * r},0Z`,
  (r) => `M0,${1.25 * r}L${1.2 * r},${-r}H${-1.2 * r}Z`,
];

function mark(x, y, series, chosen, radius = 4.5) {
  return svg('path', {
    d: SHAPES[series % SHAPES.length](radius),
    transform: `translate(${x.toFixed(1)},${y.toFixed(1)})`,
    class: `mark k${series % 8}${chosen ? ' chosen' : ''}`,
  });
}

function legend(node, entries) {
  node.replaceChildren(...entries.map(([picture, label]) => html('span', {},
    svg('svg', {width: 18, height: 14, 'aria-hidden': 'true'}, picture),
    label)));
}

function explain(node, content) {
  node.addEventListener('pointermove', (event) => {
    const tip = document.getElementById('tip');
    tip.textContent = content;
    tip.hidden = false;
    const right = Math.max(4, innerWidth - tip.offsetWidth - 8);
    const bottom = Math.max(4, innerHeight - tip.offsetHeight - 8);
    tip.style.left = `${Math.min(event.clientX + 14, right)}px`;
    tip.style.top = `${Math.min(event.clientY + 14, bottom)}px`;
  });
  node.addEventListener('pointerleave', () => {
    document.getElementById('tip').hidden = true;
  });
  return node;
}
