/** Writes the page of the experiment and its picture. */
import { lineChart } from 'looplm/charts';
import { meanRows } from 'looplm/eval';
import { writeFileAtomic } from 'looplm/node';
import { provenanceText } from '../../benchmarks/lib/harness.js';
import { table } from '../../benchmarks/lib/markdown.js';
import { medianRatio } from '../../benchmarks/lib/statistics.js';
import { spreadText } from '../lib/spread.js';
import type { Results } from './results.js';
import { runKey } from './results.js';
import type { RunFigures, VariantName } from './runs.js';
import { DEPTHS, VARIANTS } from './runs.js';

const PAGE = 'docs/loop-options.md';
const PICTURE = 'images/loop-options.svg';
const NAMES = Object.keys(VARIANTS) as VariantName[];
const [BASE] = NAMES as [VariantName];
const PANELS: Readonly<Record<string, readonly VariantName[]>> = {
  'loops trained': ['two loops, then four', 'six loops, then four', 'two to six loops, drawn'],
  gradients: ['gradients through two loops', 'gradients through one loop'],
  layers: [
    'twice the layers',
    'twice the layers at half-way, interleaved',
    'twice the layers at half-way, stacked',
  ],
};
const SHOWN_DEPTHS = [1, 2, 3, 4, DEPTHS];

export async function writePage(results: Results): Promise<void> {
  await writeFileAtomic(`docs/${PICTURE}`, picture(results));
  await writeFileAtomic(PAGE, pageText(results));
}

/** Of all seeds, in their order; a run that is missing is left out. */
function runsOf({ runs, settings }: Results, name: VariantName): readonly RunFigures[] {
  return Array.from({ length: settings.seeds }, (_, index) => runs[runKey(name, index + 1)]).filter(
    (run) => run !== undefined,
  );
}

export function pageText(results: Results): string {
  const { trainSteps, tokensPerStep, seeds } = results.settings;
  return `# Experiments: loops and layers in training

Written by \`npm run experiment:loops\` from \`experiments/loops/results.json\`. The question is what the options of [stages](training.md#stages) that change loops or layers cost, and what they bring, at equal tokens.

All runs train a model of two layers of width 96 on the bytes of the readmes of the installed packages, ${trainSteps} updates of ${tokensPerStep} tokens under stage I, with one course of the learning rate: even in the first half, falling in the second; each is a process of one thread. Where a line says "then" or "half-way", the change is between the two. Held-out loss in nats a byte after each loop, whatever the run trained, is that of "${BASE}", and for the others the difference from it with the same seed: means over ${seeds} seeds with the deviation of the sample. Time is that of the processor for all updates, over that of "${BASE}" with the same seed (the median), memory the largest resident size of the process.

![Held-out loss by depth](${PICTURE})

${lossTable(results)}

${priceTable(results)}

${provenanceText(results)}
`;
}

function lossTable(results: Results): string {
  const base = runsOf(results, BASE);
  const rows = NAMES.map((name) => {
    const losses = SHOWN_DEPTHS.map((depth) => {
      const lossOf = ({ lossByDepth }: RunFigures) => lossByDepth[depth - 1]!;
      if (name === BASE) return spreadText(base.map(lossOf));
      const differences = runsOf(results, name).map((run, at) => lossOf(run) - lossOf(base[at]!));
      return signed(spreadText(differences));
    });
    return [name, ...losses];
  });
  return table(['', ...SHOWN_DEPTHS.map((depth) => `depth ${depth}`)], rows);
}

const signed = (text: string) => (text.startsWith('-') ? text : `+${text}`);

function priceTable(results: Results): string {
  const seconds = (name: VariantName) => runsOf(results, name).map((run) => run.seconds);
  const megabytes = (name: VariantName) =>
    Math.max(...runsOf(results, name).map((run) => run.peakBytes)) / 1e6;
  const rows = NAMES.map((name) => [
    name,
    medianRatio(seconds(name), seconds(BASE)).toFixed(2),
    `${megabytes(name).toFixed(0)} MB`,
  ]);
  return table(['', 'time', 'memory'], rows);
}

function picture(results: Results): string {
  const depths = Array.from({ length: DEPTHS }, (_, at) => at + 1);
  const means = new Map(
    NAMES.map((name) => [
      name,
      meanRows(runsOf(results, name).map(({ lossByDepth }) => lossByDepth)),
    ]),
  );
  const all = [...means.values()].flat();
  const range = { min: Math.min(...all), max: Math.max(...all) };
  return lineChart({
    title: 'Held-out loss by depth',
    panels: Object.entries(PANELS).map(([name, variants]) => ({
      name,
      x: { name: 'depth', min: 1, max: DEPTHS, ticks: depths },
      y: { name: 'nats a byte', ...range },
      lines: [BASE, ...variants].map((variant) => ({
        name: variant,
        isReference: variant === BASE,
        points: means.get(variant)!.map((loss, at) => [at + 1, loss]),
      })),
    })),
  });
}
