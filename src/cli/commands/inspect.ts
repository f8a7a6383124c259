/**
 * `looplm inspect`: what a checkpoint holds and what it costs at each depth.
 *
 * Every weight is read, so a damaged file or a NaN shows here; nothing is computed with them.
 */
import type { Command } from 'commander';
import type { LoopLMConfig, ModelCost, OpenCheckpoint } from '../../model/index.js';
import { modelCost, openCheckpoint, parameterSpecs } from '../../model/index.js';
import { nodeFolder } from '../../platform/node/index.js';
import type { TextFiles } from '../../text-files.js';
import { loadTextFiles, stopTokensOf } from '../../text-files.js';
import type { StopToken } from '../../tokenizer/index.js';
import { isThinkingName } from '../../tokenizer/index.js';
import type { CliIo } from '../io.js';
import { modelPath } from '../model-flags.js';
import { parseWhole } from '../parse-flags.js';
import { styleOf } from '../style.js';
import { short, table } from '../table.js';

interface Flags {
  readonly model?: string;
  readonly context?: number;
  readonly json?: true;
}

const EXAMPLES = `
Examples:
  looplm inspect
  looplm inspect --model ./my-model --context 1024
  looplm inspect --model ./my-model --json
`;

/** Positions attended to in the cost table, where the model holds as many. */
const DEFAULT_CONTEXT = 256;

export function registerInspect(program: Command, io: CliIo): void {
  program
    .command('inspect')
    .description('show config, tensors and cost by depth of a model; checks every weight')
    .option('--model <folder>', 'model folder; the bundled model if left out')
    .option(
      '--context <n>',
      `positions attended to in the costs (default: ${DEFAULT_CONTEXT})`,
      parseWhole,
    )
    .option('--json', 'print one JSON object')
    .addHelpText('after', EXAMPLES)
    .action((flags: Flags) => inspect(flags, io));
}

async function inspect(flags: Flags, io: CliIo): Promise<void> {
  const path = modelPath(flags);
  const folder = nodeFolder(path);
  const checkpoint = await openCheckpoint(folder);
  try {
    const { config, ignoredKeys, dtype } = checkpoint;
    const cost = modelCost(config, {
      context: flags.context ?? Math.min(DEFAULT_CONTEXT, config.maxPositionEmbeddings),
      weightDtype: 'f32',
      cacheDtype: 'f32',
    });
    const texts = await loadTextFiles(folder);
    const text = textSummary(texts, stopTokensOf(texts, config), path);
    const tensors = await readTensors(checkpoint);
    if (flags.json) {
      const found = { path, dtype, config, ignoredKeys, text, tensors, cost };
      io.stdout.write(`${JSON.stringify(found)}\n`);
      return;
    }
    const { bold } = styleOf(io);
    const lines = [
      `${bold('model')}  ${path}, weights stored as ${dtype}`,
      ...configLines(config).map((line) => `  ${line}`),
      `  ignored keys: ${ignoredKeys.length === 0 ? 'none' : ignoredKeys.join(', ')}`,
      '',
      bold('text'),
      ...textLines(text).map((line) => `  ${line}`),
      '',
      bold('parameters'),
      ...parameterLines(config, cost),
      '',
      `${bold('tensors')}  ${tensors.length}, all values finite`,
      ...tensorLines(tensors, config),
      '',
      `${bold('cost of a token')}  float32, attending to ${cost.context} positions`,
      ...costLines(cost),
      '',
      `${bold('cache')}  bytes of a token, float32`,
      ...table(Object.entries(cost.kvBytesPerToken).map(([name, bytes]) => [name, short(bytes)])),
    ];
    io.stdout.write(`${lines.join('\n')}\n`);
  } finally {
    await checkpoint.close();
  }
}

/** What a model does with text by default. */
interface TextSummary {
  /** Entries of the tokenizer; null without one. */
  readonly tokenizerEntries: number | null;
  readonly hasChatTemplate: boolean;
  readonly stopTokens: readonly StopToken[];
  /** What generation_config.json says; empty without the file. */
  readonly sampling: TextFiles['generationConfig']['sampling'];
  /** Whether chat begins with reasoning. */
  readonly thinksByDefault: boolean;
}

function textSummary(
  { tokenizer, chatTemplate, generationConfig }: TextFiles,
  stopTokens: readonly StopToken[],
  path: string,
): TextSummary {
  return {
    tokenizerEntries: tokenizer?.vocabSize ?? null,
    hasChatTemplate: chatTemplate !== undefined,
    stopTokens,
    sampling: generationConfig.sampling,
    thinksByDefault: isThinkingName(path),
  };
}

function textLines(text: TextSummary): string[] {
  const stops = text.stopTokens.map(
    ({ id, token, sources }) => `${[id, token].join(' ').trim()} (${sources.join(', ')})`,
  );
  const sampling = Object.entries(text.sampling).map(([name, value]) => `${name} ${value}`);
  return [
    `tokenizer ${text.tokenizerEntries === null ? 'none' : `of ${text.tokenizerEntries} entries`}, chat template ${text.hasChatTemplate ? 'there' : 'none'}`,
    `stops at ${stops.join(', ') || 'no token'}`,
    `sampling ${sampling.length > 0 ? `${sampling.join(', ')} (generation_config.json)` : 'greedy'}`,
    ...(text.thinksByDefault ? ['chat begins with reasoning (the name contains "Thinking")'] : []),
  ];
}

interface TensorSummary {
  readonly name: string;
  readonly shape: readonly number[];
  /** Root of the mean square. */
  readonly rms: number;
  readonly largest: number;
}

async function readTensors({ config, readTensor }: OpenCheckpoint): Promise<TensorSummary[]> {
  const summaries: TensorSummary[] = [];
  for (const { hfName: name, shape } of parameterSpecs(config)) {
    let squares = 0;
    let largest = 0;
    const values = await readTensor(name);
    for (const value of values) {
      squares += value * value;
      largest = Math.max(largest, Math.abs(value));
    }
    summaries.push({ name, shape, rms: Math.sqrt(squares / values.length), largest });
  }
  return summaries;
}

function configLines(config: LoopLMConfig): string[] {
  const ids = (id: number | undefined) => (id === undefined ? 'none' : String(id));
  return [
    `${config.numHiddenLayers} layers, up to ${config.numLoops} loops, exit threshold ${config.exitThreshold}`,
    `width ${config.hiddenSize}, MLP ${config.intermediateSize}, ${config.numAttentionHeads} heads of ${config.headDim}, ${config.numKeyValueHeads} key-value heads`,
    `vocabulary ${config.vocabSize}, context ${config.maxPositionEmbeddings}, rope theta ${config.ropeTheta}, norm epsilon ${config.rmsNormEps}`,
    `head ${config.tieWordEmbeddings ? 'tied to the embedding' : 'of its own'}; begin ${ids(config.bosTokenId)}, end ${config.eosTokenIds.join(', ') || 'none'}, padding ${ids(config.padTokenId)}`,
  ];
}

function parameterLines({ numHiddenLayers }: LoopLMConfig, { parameters }: ModelCost): string[] {
  return table([
    ['all', short(parameters.total)],
    ['embedding', short(parameters.embedding)],
    [`${numHiddenLayers} layers`, short(parameters.layers)],
    ['final norm', short(parameters.finalNorm)],
    ['exit gate', short(parameters.exitGate)],
    ['head', short(parameters.head)],
  ]);
}

/** One line for each tensor; the layers are alike, so the first stands for all. */
function tensorLines(tensors: readonly TensorSummary[], config: LoopLMConfig): string[] {
  const last = config.numHiddenLayers - 1;
  const rows = tensors
    .filter(({ name }) => !/\.layers\.[1-9]/.test(name))
    .map(({ name, shape, rms, largest }) => [
      name.replace('.layers.0.', last === 0 ? '.layers.0.' : `.layers.0-${last}.`),
      `[${shape.join(', ')}]`,
      rms.toPrecision(3),
      largest.toPrecision(3),
    ]);
  const heading = last === 0 ? 'name' : 'name (values of layer 0)';
  return table([[heading, 'shape', 'rms', 'largest'], ...rows]);
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
