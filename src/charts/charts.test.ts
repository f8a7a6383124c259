/**
 * Charts are whole pictures: well-formed, named, complete, equal for equal numbers; nothing lies on
 * something else or outside, and a place says its value.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  accuracyByDepthChart,
  accuracyByModelChart,
  errorByDepthChart,
  exitDepthByDifficulty,
  exitDepthHeatmap,
  frontierChart,
  lineChart,
  lossCurves,
  policyCurves,
} from './index.js';
import {
  AXIS,
  BORDER,
  GROUND,
  INK,
  MUTED,
  rampColors,
  SERIES,
  SHADE,
  ON_SHADE,
  textWidth,
} from './theme.js';

const depths = [
  { difficulty: 1, value: 1.5 },
  { difficulty: 3, value: 2.25 },
];
const shares = [
  { difficulty: 1, value: [0.25, 0.75] },
  { difficulty: 2, value: [1, 0] },
];

const CHARTS = {
  lossCurves: () =>
    lossCurves([
      { trainStep: 20, lossPerLoop: [2, 1] },
      { trainStep: 40, lossPerLoop: [1.5, 0.5] },
    ]),
  policyCurves: () =>
    policyCurves([
      { trainStep: 1, reward: 0.25, meanDepth: 3 },
      { trainStep: 2, reward: 0.5, meanDepth: 2 },
    ]),
  accuracyByDepthChart: () => accuracyByDepthChart([{ name: 'cups', points: shares }]),
  accuracyByModelChart: () =>
    accuracyByModelChart(['looped', 'twin'], [{ name: 'cups', points: shares }]),
  exitDepthByDifficulty: () => exitDepthByDifficulty([{ name: 'cups', points: depths }], 4),
  exitDepthHeatmap: () => exitDepthHeatmap([{ name: 'cups', points: shares }]),
  frontierChart: () =>
    frontierChart(
      'A & B <title>',
      [
        {
          name: 'cdf',
          points: [
            { meanDepth: 1, accuracy: 0.5 },
            { meanDepth: 2, accuracy: 1 },
          ],
        },
        { name: 'oracle', points: [{ meanDepth: 1.5, accuracy: 1 }] },
      ],
      4,
    ),
  errorByDepthChart: () =>
    errorByDepthChart(
      'Errors',
      ['q8', 'q4'].map((name, index) => ({ name, errors: [0.1 + index, 0.2, 0.3] })),
      [
        { name: 'states', what: 'relative error', of: ({ errors }) => errors },
        { name: 'answers', what: 'divergence', of: ({ errors }) => errors },
      ],
    ),
};

/** Names that must be read in each picture. */
const WORDS: Readonly<Record<keyof typeof CHARTS, readonly string[]>> = {
  lossCurves: ['Training loss by depth', 'depth 1', 'depth 2', 'train step', '0.1', '10'],
  policyCurves: ['reward', 'mean exit depth (loops)', 'train step', '0.5'],
  accuracyByDepthChart: ['cups', 'depth 1', 'depth 2', 'accuracy', 'difficulty (steps)', '100 %'],
  accuracyByModelChart: ['cups', 'looped', 'twin', 'accuracy', 'difficulty (steps)', '100 %'],
  exitDepthByDifficulty: ['cups', 'mean exit depth (loops)', 'difficulty (steps)', '3'],
  exitDepthHeatmap: ['cups', 'exit depth (loops)', '25', '75', '100'],
  frontierChart: [
    'A &amp; B &lt;title&gt;',
    'cdf',
    'oracle',
    'accuracy',
    'mean exit depth (loops)',
  ],
  errorByDepthChart: ['Errors', 'q8', 'q4', 'states', 'answers', 'relative error', 'divergence'],
};

describe.each(Object.keys(CHARTS) as (keyof typeof CHARTS)[])('%s', (name) => {
  test('is well-formed XML', () => {
    const svg = CHARTS[name]();
    expect(openTags(svg)).toEqual([]);
    expect(svg).toMatch(/^<svg xmlns="[^"]+" width="800" height="\d+(\.\d)?"/);
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
  });

  test('names its title, axes and series', () => {
    const svg = CHARTS[name]();
    for (const word of WORDS[name]) expect(svg).toContain(`>${word}</text>`);
  });

  test('is equal text for equal numbers, whatever was drawn before', () => {
    expect(CHARTS[name]()).toBe(CHARTS[name]());
  });

  test('has no text on another or outside', () => {
    expectRoom(CHARTS[name]());
  });

  test('has a dark value for every colour it paints with', () => {
    const svg = CHARTS[name]();
    const painted = new Set([...svg.matchAll(/<g class="([\w-]+)"/g)].map(([, color]) => color!));
    for (const color of painted) expect(svg).toContain(`.${color}{color:#`);
  });
});

test('texts have room whatever names and numbers are drawn', () => {
  const name = fc.stringMatching(/^[a-zA-Z0-9 ,:.-]{1,24}$/);
  const points = fc.array(
    fc.tuple(
      fc.double({ min: 0.001, max: 1e6, noNaN: true }),
      fc.double({ min: 1e-30, max: 1e6, noNaN: true }),
    ),
    { minLength: 1, maxLength: 8 },
  );
  const lines = fc.uniqueArray(fc.record({ name, points }), {
    selector: (line) => line.name,
    minLength: 1,
    maxLength: 20,
  });
  const kind = fc.constantFrom('linear' as const, 'log' as const);
  const panel = fc.record({ name, lines, kind }).map((one) => ({
    name: one.name,
    lines: one.lines,
    x: { name: 'x' },
    y: { name: 'y', kind: one.kind },
  }));
  const panels = fc.array(panel, { minLength: 1, maxLength: 2 });
  fc.assert(
    fc.property(panels, (drawn) => {
      const svg = lineChart({ title: 'a chart', panels: drawn });
      expect(openTags(svg)).toEqual([]);
      expectRoom(svg);
    }),
    { seed: 1, numRuns: 60 },
  );
});

test('equal steps of a linear scale and equal ratios of a logarithmic one are equally long', () => {
  const places = (kind: 'linear' | 'log', values: readonly number[]) => {
    const points = values.map((value, index) => [index, value] as const);
    const panel = { x: { name: 'x' }, y: { name: 'y', kind }, lines: [{ name: 'a', points }] };
    const svg = lineChart({ title: 't', panels: [panel], hasMarkers: false });
    const path = [...svg.matchAll(/ d="M([^"]*)"/g)].at(-1)![1]!;
    return path.split('L').map((point) => point.split(' ').map(Number));
  };
  const linear = places('linear', [1, 2, 3, 4]);
  const log = places('log', [1, 10, 100, 1000]);
  for (const points of [linear, log]) {
    for (const axis of [0, 1]) {
      const steps = points.slice(1).map((point, index) => point[axis]! - points[index]![axis]!);
      for (const step of steps) expect(Math.abs(step - steps[0]!)).toBeLessThanOrEqual(0.2);
      expect(Math.sign(steps[0]!)).toBe(axis === 0 ? 1 : -1); // up is more
    }
  }
});

test('what a scale cannot show is left out, the rest is drawn', () => {
  const svg = lossCurves([
    { trainStep: 1, lossPerLoop: [1, Number.NaN] },
    { trainStep: 2, lossPerLoop: [0, 0.5] },
    { trainStep: 3, lossPerLoop: [0.1, 0.2] },
  ]);
  expect(svg).not.toMatch(/NaN|Infinity/);
  const lines = [...svg.matchAll(/ d="(M[\d.]+ [\d.]+L[\d.]+ [\d.]+)"/g)].slice(-2);
  expect(lines).toHaveLength(2);
});

test('a band runs along its upper edge and back along the lower, within the scale', () => {
  const x = { name: 'x', min: 0, max: 2 };
  const drawn = (low: number) =>
    lineChart({
      title: 't',
      panels: [
        {
          x,
          y: { name: 'y', max: 1 },
          lines: [
            {
              name: 'a',
              points: [0, 1, 2].map((at) => [at, 0.5]),
              band: [0, 1, 2].map((at) => [at, low, 1]),
            },
            { name: 'b', points: [[0, 0.5]] },
          ],
        },
      ],
    });
  const bandOf = (svg: string) => {
    const bands = [...svg.matchAll(/ d="M([^"]*)z" fill="currentColor" fill-opacity/g)];
    expect(bands).toHaveLength(1);
    return bands[0]![1]!.split('L').map((point) => point.split(' ').map(Number));
  };
  const [a, b] = [bandOf(drawn(0)), bandOf(drawn(-1))];
  const [left, middle, right] = a.slice(0, 3).map(([at]) => at!);
  expect(left).toBeLessThan(middle!);
  expect(middle).toBeLessThan(right!);
  expect(a.map(([at]) => at)).toEqual([left, middle, right, right, middle, left]);
  const heights = a.map(([, at]) => at!);
  // up is more: the upper edge lies at the top of the panel, the lower one below it
  expect(new Set(heights.slice(0, 3)).size).toBe(1);
  expect(heights[3]).toBeGreaterThan(heights[0]!);
  // the scale reaches down to the band, not only to the line
  expect(Math.max(...b.map(([, at]) => at!))).toBeCloseTo(Math.max(...heights), 0);
});

test('more lines than colours still differ', () => {
  const names = Array.from({ length: 4 * SERIES.length }, (_, index) => `line ${index}`);
  const lines = names.map((name, index) => ({
    name,
    points: [[0, index] as const, [1, index] as const],
  }));
  const svg = lineChart({ title: 't', panels: [{ x: { name: 'x' }, y: { name: 'y' }, lines }] });
  const signs = names.map((name) => {
    const [, color, , marker] = new RegExp(
      `<g class="([\\w-]+)"[^>]*><path d="([^"]*)"[^>]*/><path d="M[\\d.]+ [\\d.]+([^"M]*)[^"]*"[^>]*/>\\s*</g><g class="ink"[^>]*><text[^>]*>${name}</text>`,
    ).exec(svg)!;
    return `${color} ${marker}`;
  });
  expect(new Set(signs).size).toBe(names.length);
});

describe('colours', () => {
  const contrast = (a: string, b: string) => {
    const [high, low] = [luminance(a), luminance(b)].toSorted((x, y) => y - x) as [number, number];
    return (high + 0.05) / (low + 0.05);
  };
  const grounds = ['light', 'dark'] as const;

  // Web Content Accessibility Guidelines 2.2, 1.4.3 and 1.4.11: texts 4.5, other signs 3.
  test.each(grounds)('are seen on the %s ground', (ground) => {
    for (const color of [INK, MUTED]) {
      expect(contrast(color[ground], GROUND[ground])).toBeGreaterThanOrEqual(4.5);
    }
    for (const color of [AXIS, ...SERIES, ...rampColors(4), ...rampColors(9), SHADE]) {
      expect(contrast(color[ground], GROUND[ground])).toBeGreaterThanOrEqual(3);
    }
    expect(contrast(ON_SHADE[ground], SHADE[ground])).toBeGreaterThanOrEqual(4.5);
    expect(contrast(BORDER[ground], GROUND[ground])).toBeLessThan(2);
  });

  test.each(grounds)('of an order stand out the more from the %s ground, the later', (ground) => {
    for (const count of [2, 4, 9]) {
      const contrasts = rampColors(count).map((color) => contrast(color[ground], GROUND[ground]));
      expect(contrasts).toEqual(contrasts.toSorted((x, y) => x - y));
    }
  });

  test('of an order have its ends at any length', () => {
    const [first, , , last] = rampColors(4);
    expect(rampColors(1)[0]!.light).toBe(last!.light);
    expect(rampColors(9)[0]!.light).toBe(first!.light);
    expect(rampColors(9)[8]!.light).toBe(last!.light);
  });
});

/** Relative luminance of `#rrggbb`. Source: WCAG 2.2, definition of relative luminance. */
function luminance(hex: string): number {
  const [r, g, b] = [1, 3, 5].map((at) => {
    const value = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** Tags left open at the end; throws at a closing tag without its opening one or a bad attribute. */
function openTags(svg: string): readonly string[] {
  const open: string[] = [];
  const tag = /<(\/?)([\w:]+)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>|<[^>]*>/g;
  for (const [text, closing, name, , empty] of svg.matchAll(tag)) {
    if (name === undefined) throw new Error(`not a tag: ${text}`);
    if (closing) expect(open.pop()).toBe(name);
    else if (!empty) open.push(name);
  }
  return open;
}

/** Every text lies in the picture, and no two share a pixel. */
function expectRoom(svg: string): void {
  const [, width, height] = /viewBox="0 0 ([\d.]+) ([\d.]+)"/.exec(svg)!.map(Number) as [
    number,
    number,
    number,
  ];
  const pattern =
    /<text x="([\d.-]+)" y="([\d.-]+)" font-size="([\d.]+)"(?: text-anchor="(\w+)")?[^>]*>([^<]*)</g;
  const boxes = [...svg.matchAll(pattern)].map(([, x, y, size, anchor, escaped]) => {
    const text = escaped!.replaceAll(/&\w+;/g, '&');
    const wide = textWidth(text, Number(size));
    const left = Number(x) - { start: 0, middle: wide / 2, end: wide }[anchor ?? 'start']!;
    const top = Number(y) - 0.75 * Number(size);
    return { text, left, right: left + wide, top, bottom: Number(y) + 0.2 * Number(size) };
  });
  boxes.forEach((box, index) => {
    expect(box.left, box.text).toBeGreaterThanOrEqual(0);
    expect(box.right, box.text).toBeLessThanOrEqual(width);
    expect(box.bottom, box.text).toBeLessThanOrEqual(height);
    for (const other of boxes.slice(0, index)) {
      const isApart =
        box.left >= other.right ||
        other.left >= box.right ||
        box.top >= other.bottom ||
        other.top >= box.bottom;
      expect(isApart, `"${box.text}" and "${other.text}"`).toBe(true);
    }
  });
}
