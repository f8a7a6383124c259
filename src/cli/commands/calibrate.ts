/**
 * `looplm calibrate`: how large what each matrix reads is, over a text, for `looplm convert`.
 */
import { createHash } from 'node:crypto';
import type { Command } from 'commander';
import { ConfigError } from '../../errors.js';
import type { Calibration } from '../../eval/index.js';
import type { LoopLMConfig } from '../../model/index.js';
import { loadWeights } from '../../model/index.js';
import { createNodeDevice, nodeFolder, openFile } from '../../platform/node/index.js';
import { loadTokenizer } from '../../text/index.js';
import type { Tokenizer } from '../../tokenizer/index.js';
import { decodeUtf8 } from '../../util/utf8.js';
import { openProgress } from '../byte-progress.js';
import { LINE_FORMS, readDocuments } from '../documents.js';
import { printable } from '../../util/quote.js';
import type { CliIo } from '../io.js';
import { InterruptedError, PATIENCE_MS, interruptible } from '../io.js';
import { noteModelFiles } from '../model-flags.js';
import { FORCE_HELP, openOutput, safetensorsKind } from '../output-file.js';
import { parseCount } from '../parse-flags.js';
import { resolveShown } from '../resolve.js';

interface Flags {
  readonly text?: string;
  readonly jsonl?: string;
  readonly ids?: string;
  readonly out: string;
  readonly force?: true;
  readonly maxTokens: number;
  readonly threads?: number;
  readonly json?: true;
}

const DEFAULT_MAX_TOKENS = 4096;

const EXAMPLES = `
The text should be of the kind that the model will see: some thousand tokens are enough. Any format of
the model will do; where its float32 weights do not fit into memory, calibrate its q8 conversion.
The file holds, for each matrix, the mean square of each of its inputs over all tokens and all loops.

Lines of --jsonl: ${LINE_FORMS}.

Examples:
  looplm calibrate ./my-model --text notes.txt --out calibration.safetensors
  looplm calibrate ./my-model-q8 --jsonl problems.jsonl --max-tokens 4096 --out calibration.safetensors
  looplm convert ./my-model --dtype q4 --calibration calibration.safetensors --out ./my-model-q4
`;

export function registerCalibrate(program: Command, io: CliIo): void {
  program
    .command('calibrate')
    .description('measure over a text which weights matter most, for convert')
    .argument('<model>', 'model folder, or ORG/NAME on the hub')
    .option('--text <file>', 'a text')
    .option('--jsonl <file>', 'JSONL of documents')
    .option('--ids <file>', 'token ids between commas or spaces, a document a line')
    .requiredOption('--out <file>', 'safetensors file to write')
    .option('--force', FORCE_HELP)
    .option('--max-tokens <n>', 'tokens to read at most', parseCount, DEFAULT_MAX_TOKENS)
    .option('--threads <n>', 'threads inside one operator (default: all cores)', parseCount)
    .option('--json', 'print one JSON object at the end')
    .addHelpText('after', EXAMPLES)
    .action((model: string, flags: Flags) => calibrateModel(model, flags, io));
}

async function calibrateModel(model: string, flags: Flags, io: CliIo): Promise<void> {
  const start = io.now();
  const { CALIBRATION_FORMAT, calibrate, calibrationChunks } = await import('../../eval/index.js');
  const kind = safetensorsKind('a calibration', CALIBRATION_FORMAT);
  const output = await openOutput(flags.out, kind, flags);
  const { path } = await resolveShown(model, {}, io);
  const folder = nodeFolder(path);
  const loaded = await loadWeights(folder);
  const { config, weights } = loaded;
  noteModelFiles(loaded, io);
  const source = await readSource(flags);
  const documents = documentsOf(source, config, await loadTokenizer(folder));
  const progress = openProgress(io, 'calibrating', ' tokens');
  const work = async (signal: AbortSignal): Promise<Calibration> => {
    const { threads, maxTokens } = flags;
    const device = await createNodeDevice(threads === undefined ? {} : { numThreads: threads });
    const onProgress = (done: number, total: number) => progress.show(done, total);
    try {
      const options = { device, config, weights, maxTokens, onProgress, signal };
      return await calibrate({ ...options, length: pieceLength(config) }, documents);
    } catch (error) {
      throw signal.aborted ? new InterruptedError() : error;
    } finally {
      progress.stop();
      await device.dispose();
    }
  };
  const calibration = await interruptible(io, work, { patienceMs: PATIENCE_MS });
  const about = { text_sha256: source.sha256 };
  await output.write(calibrationChunks(calibration, about));
  const seconds = (io.now() - start) / 1000;
  io.stdout.write(`${resultText(calibration, source, flags, seconds)}\n`);
}

/** Tokens that see each other at most: enough for the statistics, little for memory. */
const MAX_PIECE = 512;

function pieceLength({ maxPositionEmbeddings }: LoopLMConfig): number {
  return Math.min(MAX_PIECE, maxPositionEmbeddings);
}

const FORMS = ['text', 'jsonl', 'ids'] as const;

interface Source {
  readonly form: (typeof FORMS)[number];
  readonly path: string;
  readonly text: string;
  /** Of the file, whatever part of it is read. */
  readonly sha256: string;
}

/** @throws ConfigError unless exactly one file is given; FileError if it cannot be read */
async function readSource(flags: Flags): Promise<Source> {
  const given = FORMS.filter((form) => flags[form] !== undefined);
  const [form] = given;
  if (form === undefined || given.length > 1) {
    const got =
      given.length === 0 ? 'No text is' : `${given.map((name) => `--${name}`).join(' and ')} are`;
    throw new ConfigError('text', `${got} given; give one of --text, --jsonl and --ids.`);
  }
  const path = flags[form]!;
  const file = await openFile(path);
  try {
    const bytes = await file.read(0, file.size);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    return { form, path, text: decodeUtf8(bytes, path), sha256 };
  } finally {
    await file.close();
  }
}

function documentsOf(
  { form, path, text }: Source,
  config: LoopLMConfig,
  tokenizer: Tokenizer | undefined,
): readonly (readonly number[])[] {
  switch (form) {
    case 'text':
      if (tokenizer) return [tokenizer.encode(text, { unencodable: 'replace' })];
      throw new ConfigError(
        'text',
        'The model folder has no tokenizer.json, which a text needs; give --ids, or add the file.',
      );
    case 'jsonl':
      return readDocuments(text, { path, config, tokenizer, labelsEnd: false }).map(({ ids }) => [
        ...ids,
      ]);
    case 'ids':
      return text.split('\n').map((line, index) => lineIds(line, `${path}, line ${index + 1}`));
    default:
      return form satisfies never;
  }
}

function lineIds(line: string, where: string): readonly number[] {
  const words = line.split(/[\s,]+/).filter((word) => word !== '');
  const bad = words.find((word) => !/^\d+$/.test(word));
  if (bad === undefined) return words.map(Number);
  throw new ConfigError(
    'ids',
    `${where}: ${JSON.stringify(bad.slice(0, 40))} is not a token id. Write whole numbers between commas or spaces.`,
  );
}

function resultText(
  { meanSquares, numTokens, numLoops }: Calibration,
  { sha256 }: Source,
  { out, json }: Flags,
  seconds: number,
): string {
  const matrices = meanSquares.size;
  if (json) {
    return JSON.stringify({ out, numTokens, numLoops, matrices, textSha256: sha256, seconds });
  }
  const shown = printable(out);
  return `Wrote ${shown}: inputs of ${matrices} matrices over ${numTokens} tokens and ${numLoops} loops, in ${seconds.toFixed(1)} s. Use it with looplm convert --calibration ${shown}`;
}
