/**
 * Writes docs/benchmarks.md from the result files, so that no figure is typed by hand.
 * `npm run bench:report`
 */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { writeFileAtomic } from 'looplm/node';
import { z } from 'zod';
import { llamaCppFields, reportText } from './llama-cpp/report.js';

const provenance = {
  title: z.string(),
  commit: z.string(),
  machine: z.string(),
  versions: z.record(z.string(), z.string()),
  settings: z.record(z.string(), z.number()),
};
const numbers = z.record(z.string(), z.number());
const rounds = z.record(z.string(), z.array(z.number()));

const trainStepSchema = z.object({
  ...provenance,
  cases: z.array(
    z.object({
      name: z.string(),
      parameters: z.number(),
      tokensPerStep: z.number(),
      secondsPerStep: numbers,
      tokensPerSecond: numbers,
      speedOverPyTorch: z.object({ f32: z.number(), bf16: z.number() }),
      raw: rounds,
    }),
  ),
});

const generateSchema = z.object({
  ...provenance,
  entries: z.array(
    z.object({
      model: z.string(),
      kvPolicy: z.string(),
      exits: z.string(),
      meanDepth: z.number(),
      tokensPerSecond: z.number(),
      speedUp: z.number(),
      shareOfIdeal: z.number(),
    }),
  ),
});

const llamaCppSchema = z.object({ ...provenance, ...llamaCppFields });

type Header = z.infer<z.ZodObject<typeof provenance>>;

async function readResult<T>(name: string, schema: z.ZodType<T>): Promise<T> {
  const path = resolve('benchmarks', 'results', `${name}.json`);
  return schema.parse(JSON.parse(await readFile(path, 'utf8')));
}

function header({ title, commit, machine, versions, settings }: Header): string {
  const list = (entries: Readonly<Record<string, string | number>>) =>
    Object.entries(entries)
      .map(([name, value]) => `${name} ${value}`)
      .join(', ');
  return `## ${title}\n\nMachine: ${machine}. Versions: ${list(versions)}. Commit ${commit}. Settings: ${list(settings)}.\n`;
}

function table(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(columns), line(columns.map(() => '---')), ...rows.map(line)].join('\n');
}

const trainStep = await readResult('train-step', trainStepSchema);
const generate = await readResult('generate', generateSchema);
const llamaCpp = await readResult('llama-cpp', llamaCppSchema);
const sides = Object.keys(trainStep.cases[0]!.secondsPerStep);

const text = `# Benchmarks

Written by \`npm run bench:report\` from the files in \`benchmarks/results\`, which hold every raw round.
Variants run in alternating order; figures are medians over rounds, ratios are medians of the ratio
within a round. The machines are shared, so absolute times vary; ratios are what to compare.

${header(trainStep)}
The same LoopLM from the same weights on the same batch: forward through all loops, stage I loss,
backward, clipping, AdamW. Losses of the float32 sides are compared step by step while measuring.
\`npm run bench:train-step\`

${table(
  [
    'model',
    'parameters',
    'tokens a step',
    ...sides.map((side) => `${side}, ms a step`),
    'looplm over PyTorch f32',
    'looplm over PyTorch bf16',
  ],
  trainStep.cases.map((entry) => [
    entry.name,
    `${(entry.parameters / 1e6).toFixed(1)}M`,
    String(entry.tokensPerStep),
    ...sides.map((side) => (1000 * entry.secondsPerStep[side]!).toFixed(0)),
    `${entry.speedOverPyTorch.f32.toFixed(2)} x`,
    `${entry.speedOverPyTorch.bf16.toFixed(2)} x`,
  ]),
)}

${header(generate)}
The speed-up over full depth under the same KV policy; the ideal is R / mean depth, reached if nothing
but loops took time. \`npm run bench:generate\`

${table(
  ['model', 'KV policy', 'exits', 'mean depth', 'tokens/s', 'speed-up', 'share of ideal'],
  generate.entries.map((entry) => [
    entry.model,
    entry.kvPolicy,
    entry.exits,
    entry.meanDepth.toFixed(2),
    entry.tokensPerSecond.toFixed(1),
    `${entry.speedUp.toFixed(2)} x`,
    `${(100 * entry.shareOfIdeal).toFixed(0)} %`,
  ]),
)}

${header(llamaCpp)}
Both sides run random weights of the same shape; what counts as a body and as a share of the memory's
read rate is in \`benchmarks/llama-cpp/README.md\`. \`npm run bench:llama-cpp\`

${reportText(llamaCpp)}
`;
await writeFileAtomic(resolve('docs', 'benchmarks.md'), text);
process.stdout.write('wrote docs/benchmarks.md\n');
