/**
 * `looplm inspect`: what a model holds, what it costs at each depth, and the memory that it needs.
 *
 * Nothing is computed with the weights. Of a checkpoint all are read, so a damaged file or a NaN
 * shows here; a large one is costed and planned in the formats that it would be converted to.
 */
import type { Command } from 'commander';
import type {
  KvPolicy,
  LoopLMConfig,
  MemoryPlan,
  ModelCost,
  ModelFormat,
} from '../../model/index.js';
import {
  describeFormat,
  describePlan,
  hasExitGate,
  modelCost,
  showBytes,
} from '../../model/index.js';
import { defaultFormat, nodeFolder, openShards, planLoading } from '../../platform/node/index.js';
import { loadTextFiles, stopTokenNotesOf, stopTokensOf } from '../../text/index.js';
import { RequestError } from '../../errors.js';
import { printable } from '../../util/quote.js';
import { errorTable } from '../conversion-errors.js';
import type { CliIo } from '../io.js';
import type { ModelFlags } from '../model-flags.js';
import { modelPath } from '../model-flags.js';
import { parseCount } from '../parse-flags.js';
import { resolveShown } from '../resolve.js';
import { shardLines, verifyShards } from '../shard-summary.js';
import { styleOf } from '../style.js';
import { short, shortBytes, table } from '../table.js';
import { textLines, textSummary } from '../text-summary.js';
import type { TensorSummary, WeightSummary } from '../weight-summary.js';
import { summarizeWeights } from '../weight-summary.js';

type Flags = Pick<ModelFlags, 'model' | 'context' | 'revision' | 'offline'> & {
  readonly data?: string;
  readonly json?: true;
};

const EXAMPLES = `
Of a checkpoint every weight is read and checked; of a converted model the norms, the exit gate and the
layout of the file. With --data, a folder of tokens instead: all of it is read and checked.

Examples:
  looplm inspect
  looplm inspect --model ./my-model --context 1024
  looplm inspect --model ByteDance/Ouro-1.4B --offline
  looplm inspect --model ./my-model --json
`;

export function registerInspect(program: Command, io: CliIo): void {
  program
    .command('inspect')
    .description('show config, tensors, cost by depth and memory plan of a model; checks weights')
    .option('--model <name>', 'model folder, or ORG/NAME on the hub; the bundled model if left out')
    .option('--data <folder>', 'in place of a model: shards that looplm tokenize has made')
    .option(
      '--context <n>',
      'positions to count costs and plan memory for (default: at most 4096)',
      parseCount,
    )
    .option('--revision <name>', 'branch, tag or commit on the hub (default: main)')
    .option('--offline', 'use only what is in the cache of the hub')
    .option('--json', 'print one JSON object')
    .addHelpText('after', EXAMPLES)
    .action((flags: Flags) => inspect(flags, io));
}

async function inspect({ json, context, data, ...flags }: Flags, io: CliIo): Promise<void> {
  if (data !== undefined) {
    await inspectShards(data, json, flags, io);
    return;
  }
  const { model: _, ...hub } = flags;
  const name = modelPath(flags);
  const { path } = await resolveShown(name, hub, io);
  const folder = nodeFolder(path);
  const weights = await summarizeWeights(folder, io);
  const { config, ignoredKeys, stored, sizeBytes, tensors, checked } = weights;
  const texts = await loadTextFiles(folder);
  const text = textSummary(texts, stopTokensOf(texts, config), name);
  const notes = [...weights.notes, ...stopTokenNotesOf(texts, config)];
  const format = defaultFormat({ config, ...stored });
  const memory = plansOf(config, format, context);
  const { 'per-loop': plan } = memory;
  const cost = modelCost(config, {
    context: plan.context,
    weights: format ?? 'f32',
    cacheDtype: plan.kvDtype,
  });
  if (json) {
    const found = { path, ...stored, sizeBytes, config, ignoredKeys, notes, text };
    io.stdout.write(`${JSON.stringify({ ...found, tensors, checked, cost, memory })}\n`);
    return;
  }
  const { bold } = styleOf(io);
  const runsAs = format ? `body ${describeFormat(format.body)}` : 'float32';
  const converts = format && !('format' in stored) ? ', to which loading converts it' : '';
  const lines = [
    `${bold('model')}  ${path}, ${shortBytes(sizeBytes)} of weights${'dtype' in stored ? ` stored as ${stored.dtype}` : ''}`,
    ...configLines(config).map((line) => `  ${line}`),
    `  ignored keys: ${ignoredKeys.length === 0 ? 'none' : ignoredKeys.join(', ')}`,
    ...notes.map((note) => `  note: ${note}`),
    '',
    ...formatLines(stored, bold),
    bold('text'),
    ...textLines(text).map((line) => `  ${line}`),
    '',
    bold('parameters'),
    ...parameterLines(config, cost),
    '',
    `${bold('tensors')}  ${tensors.length}; ${checked} finite${checked === 'all values' ? '' : ', the rest not read'}`,
    ...tensorLines(tensors, config),
    '',
    `${bold('cost of a token')}  ${runsAs}${converts}, attending to ${cost.context} positions`,
    ...costLines(cost),
    '',
    `${bold('memory')}  planned for ${plan.context} positions${converts && `, ${runsAs}`}`,
    ...memoryLines(memory).map((line) => `  ${line}`),
  ];
  io.stdout.write(`${lines.join('\n')}\n`);
}

type Plans = Readonly<Record<KvPolicy, MemoryPlan>>;

function plansOf(
  config: LoopLMConfig,
  format: ModelFormat | undefined,
  context: number | undefined,
): Plans {
  const plan = (kvPolicy: KvPolicy) =>
    planLoading({ config, ...(format && { format }) }, { context, kvPolicy });
  return {
    'per-loop': plan('per-loop'),
    'last-exited': plan('last-exited'),
    shared: plan('shared'),
  };
}

function memoryLines(plans: Plans): string[] {
  const { 'per-loop': first, ...others } = plans;
  const totals = Object.entries(others).map(
    ([policy, { totalBytes }]) => `${policy} ${showBytes(totalBytes)}`,
  );
  return [...describePlan(first), `           under other policies: ${totals.join(', ')}`];
}

/** The formats of a converted model and what they cost in precision. */
function formatLines(stored: WeightSummary['stored'], bold: (text: string) => string): string[] {
  if (!('format' in stored)) return [];
  const { format, errors } = stored;
  const { body, head, embedding, method } = format;
  const formats = [
    ['body', describeFormat(body)],
    ['head', describeFormat(head)],
    ['embedding', describeFormat(embedding)],
  ];
  const isQuantised = body.kind === 'blocks' || head.kind === 'blocks';
  const heading = `${bold('converted')}${isQuantised ? `  integers by ${method}` : ''}`;
  const precision = errors
    ? ['  errors relative to the weights, of conversion.json:', ...errorTable(errors)]
    : ['  no conversion.json: errors are not known'];
  return [heading, ...table(formats), ...precision, ''];
}

function configLines(config: LoopLMConfig): string[] {
  const ids = (id: number | undefined) => (id === undefined ? 'none' : String(id));
  return [
    `${config.architecture}, ${config.numHiddenLayers} layers, up to ${config.numLoops} loops, ${exitLine(config)}`,
    `width ${config.hiddenSize}, MLP ${config.intermediateSize}, ${config.numAttentionHeads} heads of ${config.headDim}, ${config.numKeyValueHeads} key-value heads`,
    `vocabulary ${config.vocabSize}, context ${config.maxPositionEmbeddings}, rope theta ${config.ropeTheta}, norm epsilon ${config.rmsNormEps}`,
    ...(config.skipLoopFinalNorm ? ['final norm before the readout only, not between loops'] : []),
    `head ${config.tieWordEmbeddings ? 'tied to the embedding' : 'of its own'}; begin ${ids(config.bosTokenId)}, end ${config.eosTokenIds.join(', ') || 'none'}, padding ${ids(config.padTokenId)}`,
  ];
}

/** What a folder of tokens holds; every token is read. */
async function inspectShards(
  path: string,
  json: true | undefined,
  { model }: Pick<Flags, 'model'>,
  io: CliIo,
): Promise<void> {
  if (model !== undefined) {
    throw new RequestError('--model and --data are given together; give one of them.');
  }
  const folder = await openShards(path);
  verifyShards(folder, io);
  const lines = json
    ? [JSON.stringify({ path, ...folder.manifest })]
    : [`${styleOf(io).bold('tokens')}  ${printable(path)}, sound`, ...shardLines(folder.manifest)];
  io.stdout.write(`${lines.join('\n')}\n`);
}

/** When tokens exit by default. */
function exitLine(config: LoopLMConfig): string {
  if (config.exitDepth !== undefined) return `exit at depth ${config.exitDepth}`;
  return hasExitGate(config) ? `exit threshold ${config.exitThreshold}` : 'no exit gate';
}

function parameterLines({ numHiddenLayers }: LoopLMConfig, { parameters }: ModelCost): string[] {
  return table([
    ['all', short(parameters.total)],
    ['embedding', short(parameters.embedding)],
    [`${numHiddenLayers} layers`, short(parameters.layers)],
    ['final norm', short(parameters.finalNorm)],
    ...(parameters.exitGate > 0 ? [['exit gate', short(parameters.exitGate)]] : []),
    ['head', short(parameters.head)],
  ]);
}

/** One line for each tensor; the layers are alike, so the first stands for all. */
function tensorLines(tensors: readonly TensorSummary[], config: LoopLMConfig): string[] {
  const last = config.numHiddenLayers - 1;
  const shown = (value: number | undefined) => value?.toPrecision(3) ?? '-';
  const rows = tensors
    .filter(({ name }) => !/\.layers\.[1-9]/.test(name))
    .map(({ name, dtype, shape, rms, largest }) => [
      name.replace('.layers.0.', last === 0 ? '.layers.0.' : `.layers.0-${last}.`),
      dtype,
      `[${shape.join(', ')}]`,
      shown(rms),
      shown(largest),
    ]);
  const heading = last === 0 ? 'name' : 'name (values of layer 0)';
  return table([[heading, 'type', 'shape', 'rms', 'largest'], ...rows]);
}

function costLines({ byDepth }: ModelCost): string[] {
  const rows = byDepth.map(({ depth, flopsPerToken, weightBytesPerToken }) => [
    String(depth),
    short(flopsPerToken),
    short(weightBytesPerToken),
    `${Math.round((100 * flopsPerToken) / byDepth.at(-1)!.flopsPerToken)} %`,
  ]);
  return table([['depth', 'FLOPs', 'weight bytes read', 'of full depth'], ...rows]);
}
