/**
 * Writes docs/benchmarks.md and its pictures from the result files, so that no figure is typed by
 * hand. A benchmark without a result file is left out. `npm run bench:report`
 */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileExists, writeFileAtomic } from 'looplm/node';
import { z } from 'zod';
import { attentionFields, attentionText } from './attention/report.js';
import { depthChart, depthFields, depthText } from './depth/report.js';
import { table, times } from './lib/markdown.js';
import { llamaCppFields, reportText } from './llama-cpp/report.js';
import { memoryFields, memoryText } from './memory/report.js';

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

const attentionSchema = z.object({ ...provenance, ...attentionFields });
const depthSchema = z.object({ ...provenance, ...depthFields });
const llamaCppSchema = z.object({ ...provenance, ...llamaCppFields });
const memorySchema = z.object({ ...provenance, ...memoryFields });

type Header = z.infer<z.ZodObject<typeof provenance>>;

function header({ title, commit, machine, versions, settings }: Header): string {
  const list = (entries: Readonly<Record<string, string | number>>) =>
    Object.entries(entries)
      .map(([name, value]) => `${name} ${value}`)
      .join(', ');
  return `## ${title}\n\nMachine: ${machine}. Versions: ${list(versions)}. Commit ${commit}. Settings: ${list(settings)}.\n`;
}

interface Section<T> {
  readonly schema: z.ZodType<T>;
  /** What is measured, and how to read the tables. */
  readonly intro: string;
  tables(result: T): string | Promise<string>;
}

/** The section of a benchmark; empty if it has not been run. */
async function section<T extends Header>(
  name: string,
  { schema, intro, tables }: Section<T>,
): Promise<string> {
  const path = resolve('benchmarks', 'results', `${name}.json`);
  if (!(await fileExists(path))) {
    process.stderr.write(`no results of bench:${name}; it is left out\n`);
    return '';
  }
  const result = schema.parse(JSON.parse(await readFile(path, 'utf8')));
  const how = `${intro} \`npm run bench:${name}\``;
  return ['', header(result), how, '', await tables(result), ''].join('\n');
}

const trainStep: Section<z.infer<typeof trainStepSchema>> = {
  schema: trainStepSchema,
  intro: `The same LoopLM from the same weights on the same batch: forward through all loops, stage I loss,
backward, clipping, AdamW. Losses of the float32 sides are compared step by step while measuring.`,
  tables({ cases }) {
    const sides = Object.keys(cases[0]!.secondsPerStep);
    return table(
      [
        'model',
        'parameters',
        'tokens a step',
        ...sides.map((side) => `${side}, ms a step`),
        'looplm over PyTorch f32',
        'looplm over PyTorch bf16',
      ],
      cases.map((entry) => [
        entry.name,
        `${(entry.parameters / 1e6).toFixed(1)}M`,
        String(entry.tokensPerStep),
        ...sides.map((side) => (1000 * entry.secondsPerStep[side]!).toFixed(0)),
        times(entry.speedOverPyTorch.f32),
        times(entry.speedOverPyTorch.bf16),
      ]),
    );
  },
};

const generate: Section<z.infer<typeof generateSchema>> = {
  schema: generateSchema,
  intro: `The speed-up over full depth under the same KV policy; the ideal is R / mean depth, reached if nothing
but loops took time.`,
  tables: ({ entries }) =>
    table(
      ['model', 'KV policy', 'exits', 'mean depth', 'tokens/s', 'speed-up', 'share of ideal'],
      entries.map((entry) => [
        entry.model,
        entry.kvPolicy,
        entry.exits,
        entry.meanDepth.toFixed(2),
        entry.tokensPerSecond.toFixed(1),
        times(entry.speedUp),
        `${(100 * entry.shareOfIdeal).toFixed(0)} %`,
      ]),
    ),
};

const DEPTH_PICTURE = 'images/speed-by-depth.svg';

const depth: Section<z.infer<typeof depthSchema>> = {
  schema: depthSchema,
  intro: `Decoding of one sequence at forced depths, mixed so that their mean is as stated, each run after a
prefill that is not counted. A speed-up is over full depth under the same policy in the same round; the
ideal is R / mean depth. A token has one readout (the head, and the choice of a token from its logits)
whatever its depth, so a whole token cannot quite reach the ideal; "the loops alone" is its time without
the readout. Under \`per-loop\` a token that goes deeper than those before it also runs their missing
loops: results do not depend on who exited when, and what it costs against the others is the price.`,
  async tables(result) {
    await writeFileAtomic(resolve('docs', DEPTH_PICTURE), depthChart(result));
    return `![Speed-up over full depth by mean depth](${DEPTH_PICTURE})\n\n${depthText(result)}`;
  },
};

const attention: Section<z.infer<typeof attentionSchema>> = {
  schema: attentionSchema,
  intro: `What a layer of the 1.4B model takes to attend from the newest rows of a sequence to all of it: the
kernel over pages, in two formats and on one or two threads, and the ONNX Runtime program over arrays.`,
  tables: attentionText,
};

const llamaCpp: Section<z.infer<typeof llamaCppSchema>> = {
  schema: llamaCppSchema,
  intro: `Both sides run random weights of the same shape; what counts as a body and as a share of the memory's
read rate is in \`benchmarks/llama-cpp/README.md\`. Where the time goes and what was tried:
[log](log.md#where-a-tokens-time-goes).`,
  tables: reportText,
};

const memory: Section<z.infer<typeof memorySchema>> = {
  schema: memorySchema,
  intro: `Resident size of processes that do nothing else, against the plan that is printed before a model is
loaded. Pages of the weight file are mapped and the system may drop them at any time; the plan counts
them apart, so they are taken off before the two are compared. Growth is looked for in the second half of
each series, when heaps have reached their size. Between loads the main thread's garbage is collected
first, so that what is seen is what is kept.`,
  tables: memoryText,
};

const sections = [
  await section('train-step', trainStep),
  await section('generate', generate),
  await section('depth', depth),
  await section('attention', attention),
  await section('llama-cpp', llamaCpp),
  await section('memory', memory),
];

const text = `# Benchmarks

Written by \`npm run bench:report\` from the files in \`benchmarks/results\`, which hold every raw round.
Variants run in alternating order; figures are medians over rounds, ratios are medians of the ratio
within a round. The machines are shared, so absolute times vary; ratios are what to compare.
${sections.join('')}`;
await writeFileAtomic(resolve('docs', 'benchmarks.md'), text);
process.stdout.write('wrote docs/benchmarks.md\n');
