/** Writes the page of the experiment and its picture. */
import { lineChart } from 'looplm/charts';
import { writeFileAtomic } from 'looplm/node';
import { table } from '../../benchmarks/lib/markdown.js';
import { medianRatio } from '../../benchmarks/lib/statistics.js';
import { lineOf, spreadText } from '../lib/spread.js';
import type { Results } from './results.js';
import { runKey } from './results.js';
import type { RunFigures, VariantName } from './runs.js';
import { DEPTHS, VARIANTS } from './runs.js';

const PAGE = 'docs/loop-options.md';
const PICTURE = 'images/loop-options.svg';
const NAMES = Object.keys(VARIANTS) as VariantName[];
const [BASE] = NAMES as [VariantName];
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
  const { settings, machine, versions, commit } = results;
  const { trainSteps, tokensPerStep, seeds } = settings;
  const versionList = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return `# Experiments: loops and layers in training

Written by \`npm run experiment:loops\` from \`experiments/loops/results.json\`. The question is what the options of [stages](training.md#stages) that change loops or layers cost, and what they bring, at equal tokens.

All runs train a model of two layers of width 96 on the bytes of the readmes of the installed packages, ${trainSteps} updates of ${tokensPerStep} tokens under stage I, with one course of the learning rate: even in the first half, falling in the second. Where a line says "then" or "half-way", the change is between the two. Held-out loss in nats a byte after each loop, whatever the run trained, is the mean over ${seeds} seeds with the deviation of the sample. Time is that of the processor for all updates, over that of "${BASE}" with the same seed (the median over the seeds), memory the largest resident size of the process.

![Held-out loss by depth](${PICTURE})

${lossTable(results)}

${priceTable(results)}

Machine: ${machine}, one thread. Versions: ${versionList.join(', ')}. Commit ${commit}.
`;
}

function lossTable(results: Results): string {
  const rows = NAMES.map((name) => {
    const runs = runsOf(results, name);
    const losses = SHOWN_DEPTHS.map((depth) =>
      spreadText(runs.map(({ lossByDepth }) => lossByDepth[depth - 1]!)),
    );
    return [name, ...losses];
  });
  return table(['', ...SHOWN_DEPTHS.map((depth) => `depth ${depth}`)], rows);
}

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
  return lineChart({
    title: `Held-out loss by depth, ${results.settings.seeds} seeds`,
    panels: [
      {
        x: {
          name: 'depth',
          min: 1,
          max: DEPTHS,
          ticks: Array.from({ length: DEPTHS }, (_, at) => at + 1),
        },
        y: { name: 'cross-entropy (nats a byte)' },
        lines: NAMES.map((name) =>
          lineOf(
            name,
            runsOf(results, name).map(({ lossByDepth }) =>
              lossByDepth.map((loss, at): [number, number] => [at + 1, loss]),
            ),
          ),
        ),
      },
    ],
  });
}
