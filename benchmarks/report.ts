/**
 * Writes docs/benchmarks.md and its pictures from the result files, so that no figure is typed by
 * hand. A benchmark without a result file of the present form is left out. `npm run bench:report`
 */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileExists, writeFileAtomic } from 'looplm/node';
import { z } from 'zod';
import { attentionFields, attentionText } from './attention/report.js';
import { batchFields, batchText } from './batch/report.js';
import { depthChart, depthFields, depthText } from './depth/report.js';
import { equalQualityFields, equalQualityText } from './equal-quality/report.js';
import { generateFields, generateText } from './generate/report.js';
import { provenanceText } from './lib/harness.js';
import { spread } from './lib/markdown.js';
import type { RoofRounds } from './lib/roofs.js';
import { distribution } from './lib/statistics.js';
import { llamaCppFields, reportText } from './llama-cpp/report.js';
import { memoryFields, memoryText } from './memory/report.js';
import { servingFields, servingText } from './serving/report.js';
import { LOSS_TOLERANCE } from './train-step/losses.js';
import { trainStepFields, trainStepText } from './train-step/report.js';

const provenance = {
  title: z.string(),
  commit: z.string(),
  machine: z.string(),
  versions: z.record(z.string(), z.string()),
  settings: z.record(z.string(), z.number()),
};

const trainStepSchema = z.object({ ...provenance, ...trainStepFields });
const generateSchema = z.object({ ...provenance, ...generateFields });
const attentionSchema = z.object({ ...provenance, ...attentionFields });
const depthSchema = z.object({ ...provenance, ...depthFields });
const batchSchema = z.object({ ...provenance, ...batchFields });
const llamaCppSchema = z.object({ ...provenance, ...llamaCppFields });
const equalQualitySchema = z.object({ ...provenance, ...equalQualityFields });
const servingSchema = z.object({ ...provenance, ...servingFields });
const memorySchema = z.object({ ...provenance, ...memoryFields });

type Header = z.infer<z.ZodObject<typeof provenance>> & { readonly roofs?: RoofRounds };

function header({ title, roofs, ...of }: Header): string {
  return [`## ${title}`, provenanceText(of), ...(roofs ? [roofText(roofs)] : [])].join('\n\n');
}

/** What the machine could do meanwhile. */
function roofText({ productGflops, memoryGbps }: RoofRounds): string {
  const rates = (values: readonly number[], unit: string) =>
    `${spread(distribution(values), 0)} ${unit} (least, lower quartile, median of ${values.length})`;
  return `Roofs in the same run: float32 products ${rates(productGflops, 'GFLOP/s')}, reading memory ${rates(memoryGbps, 'GB/s')}.`;
}

interface Section<T> {
  readonly schema: z.ZodType<T>;
  /** What is measured, and how to read the tables. */
  readonly intro: string;
  tables(result: T): string | Promise<string>;
}

/** The section of a benchmark; empty if it has not been run, or not since its form changed. */
async function section<T extends Header>(
  name: string,
  { schema, intro, tables }: Section<T>,
): Promise<string> {
  const path = resolve('benchmarks', 'results', `${name}.json`);
  if (!(await fileExists(path))) {
    process.stderr.write(`no results of bench:${name}; it is left out\n`);
    return '';
  }
  const parsed = schema.safeParse(JSON.parse(await readFile(path, 'utf8')));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    process.stderr.write(
      `results of bench:${name} have another form (${issue!.path.join('.')}: ${issue!.message}); it is left out until it is run again\n`,
    );
    return '';
  }
  const result = parsed.data;
  const how = `${intro} \`npm run bench:${name}\``;
  return ['', header(result), '', how, '', await tables(result), ''].join('\n');
}

const trainStep: Section<z.infer<typeof trainStepSchema>> = {
  schema: trainStepSchema,
  intro: `The same LoopLM from the same weights on the same batch: forward through all four loops, stage I loss,
backward, clipping, AdamW, on two cores; sizes are without embedding and head, batches rows x length. PyTorch
f32 is eager, under the C library's allocator as it comes or one that keeps large blocks, whichever is faster; in cells whose steps take
seconds (50M, and vocabulary 49,152) only the latter. Rounds are at most as many as above, and three where they take long.
The losses of every step are compared while measuring, within ${LOSS_TOLERANCE.f32} of the first in float32 and ${LOSS_TOLERANCE.bf16}
in bfloat16; where they differ there are no figures. bfloat16 is left out on processors without units for it,
where a step takes PyTorch minutes; what it gave on a Zen 4 is in [the log](log.md). "Of the products alone" is the rate of a whole step over the
best product of large matrices in the same round by the better library. Which cells there are is in
\`benchmarks/train-step/cells.ts\`.`,
  tables: trainStepText,
};

const generate: Section<z.infer<typeof generateSchema>> = {
  schema: generateSchema,
  intro: `The speed-up over full depth under the same KV policy; the ideal is R / mean depth, reached if nothing
but loops took time. The shares are the operations and the bytes of weights that a token's depth asks for,
of the roofs of the same round; weights that stay in a cache can pass 100 % of the memory's rate. Whole answers of the
bundled model count question and reply, drawn from all its tasks; loops that were left out run for several tokens at once where they are
made up for, so that their share of the ideal can pass 100 %.`,
  tables: generateText,
};

const DEPTH_PICTURE = 'images/speed-by-depth.svg';

const depth: Section<z.infer<typeof depthSchema>> = {
  schema: depthSchema,
  intro: `Decoding of one sequence at forced depths, mixed so that their mean is as stated, each run after a
prefill that is not counted. A speed-up is over full depth under the same policy in the same round; the
ideal is R / mean depth. A token has one readout (the head, and the choice of a token from its logits)
whatever its depth, so a whole token cannot quite reach the ideal; "the loops alone" is its time without
the readout. Under \`per-loop\` a token that goes deeper than those before it also runs their missing
loops: results do not depend on who exited when, and what it costs against the others is the price. The
share of the memory's rate counts the weights, keys and values that the mean depth asks for.`,
  async tables(result) {
    await writeFileAtomic(resolve('docs', DEPTH_PICTURE), depthChart(result));
    return `![Speed-up over full depth by mean depth](${DEPTH_PICTURE})\n\n${depthText(result)}`;
  },
};

const batch: Section<z.infer<typeof batchSchema>> = {
  schema: batchSchema,
  intro: `Decoding of several streams in one engine at forced depths of mean 2.5, against full depth for all, and
against the naive way: a batch of one token of each stream runs until the deepest of them is done. All
streams run as many loops, each in an order of its own, behind a prompt that is not counted. The ideal is
R / mean loops run; under \`per-loop\` these are the deferred ones, too
([D_i](math.md#deferred-loops)), and as every stream ends with one of its deepest tokens, they are all:
what remains there is that deferred loops share steps. Guesses save steps and cost rows
([self-speculation](math.md#self-speculation)): "steps saved" is what would be gained if nothing but steps
took time.`,
  tables: batchText,
};

const attention: Section<z.infer<typeof attentionSchema>> = {
  schema: attentionSchema,
  intro: `What a layer of the 1.4B model takes to attend from the newest rows of a sequence to all of it: the
kernel over pages, in three formats and on one or two threads, and the ONNX Runtime program over arrays.`,
  tables: attentionText,
};

const llamaCpp: Section<z.infer<typeof llamaCppSchema>> = {
  schema: llamaCppSchema,
  intro: `Both sides run random weights of the same shape; what counts as a body and as a share of the memory's
read rate is in \`benchmarks/llama-cpp/README.md\`. With two threads llama.cpp's times have two heights, so
both sides are given as distributions over all tokens. Where the time goes and what was tried:
[log](log.md#where-a-tokens-time-goes).`,
  tables: reportText,
};

const equalQuality: Section<z.infer<typeof equalQualitySchema>> = {
  schema: equalQualitySchema,
  intro: `What somebody would run instead: the Ouro paper finds Ouro 1.4B with four loops equal to Qwen3 4B, and
2.6B to Qwen3 8B. looplm decodes at forced depths of a given mean, llama.cpp runs the dense model; random
weights in the exact shapes. Prefill is at full depth. Memory is what a process needs to go on decoding:
all that is resident but pages of the mapped weight file that it does not read. Details are in
\`benchmarks/equal-quality/README.md\`.`,
  tables: equalQualityText,
};

const serving: Section<z.infer<typeof servingSchema>> = {
  schema: servingSchema,
  intro: `Requests come when they come, at a mean rate, whether the server keeps up or not, and stream over HTTP. New
tokens have depths of their own, of mean 2.5 (\`by depth\`), those of the deepest of eight drawn alongside
(\`whole batch\`: what a batch does that waits for its deepest row), or all loops; the same requests in each
run, under \`last-exited\`. llama.cpp runs the same body once for each token, behind the same route by node-llama-cpp;
\`one loop\` is looplm doing as much.`,
  tables: servingText,
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
  await section('batch', batch),
  await section('attention', attention),
  await section('llama-cpp', llamaCpp),
  await section('equal-quality', equalQuality),
  await section('serving', serving),
  await section('memory', memory),
];

const text = `# Benchmarks

Written by \`npm run bench:report\` from the files in \`benchmarks/results\`, which hold every raw round.
Variants run in alternating order; figures are medians over rounds, ratios are medians of the ratio
within a round, unless a table says otherwise. The machines are shared and of several generations, so
times vary; compare ratios of one run, beside what its machine could do at most.
${sections.join('')}`;
await writeFileAtomic(resolve('docs', 'benchmarks.md'), text);
process.stdout.write('wrote docs/benchmarks.md\n');
