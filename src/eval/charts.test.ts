/** Charts are whole pictures: well-formed, named, complete, and equal for equal numbers. */
import { describe, expect, test } from 'vitest';
import {
  accuracyByDepthChart,
  exitDepthByDifficulty,
  exitDepthHeatmap,
  frontierChart,
  lossCurves,
} from './charts.js';

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
  accuracyByDepthChart: () => accuracyByDepthChart([{ name: 'cups', points: shares }]),
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
};

/** Names that must be read in each picture. */
const WORDS: Readonly<Record<keyof typeof CHARTS, readonly string[]>> = {
  lossCurves: ['Training loss by depth', 'depth 1', 'depth 2', 'train step'],
  accuracyByDepthChart: ['cups', 'depth 1', 'depth 2', 'accuracy', 'difficulty (moves)'],
  exitDepthByDifficulty: ['cups', 'mean exit depth (loops)', 'difficulty (moves)'],
  exitDepthHeatmap: ['cups', 'exit depth (loops)', '100 %'],
  frontierChart: [
    'A &amp; B &lt;title&gt;',
    'cdf',
    'oracle',
    'accuracy',
    'mean exit depth (loops)',
  ],
};

describe.each(Object.keys(CHARTS) as (keyof typeof CHARTS)[])('%s', (name) => {
  test('is well-formed XML on a white ground', () => {
    const svg = CHARTS[name]();
    expect(openTags(svg)).toEqual([]);
    expect(svg).toMatch(/^<svg width="800" height="\d+"/);
    expect(svg).toContain('fill="#ffffff"');
  });

  test('names its title, axes and series', () => {
    const texts = CHARTS[name]();
    for (const word of WORDS[name]) expect(texts).toContain(`>${word}</text>`);
  });

  test('is equal text for equal numbers, whatever was drawn before', () => {
    expect(CHARTS[name]()).toBe(CHARTS[name]());
  });
});

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
