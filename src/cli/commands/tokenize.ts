/**
 * `looplm tokenize`: text into shards of tokens to train on.
 */
import type { Command } from 'commander';
import { ConfigError } from '../../errors.js';
import type { ShardManifest } from '../../platform/node/index.js';
import { nodeFolder, tokenizeCorpus } from '../../platform/node/index.js';
import { printable } from '../../util/quote.js';
import { openByteProgress } from '../byte-progress.js';
import type { CorpusFlags } from '../corpus-flags.js';
import { CORPUS_HELP, localPaths, withCorpusFlags } from '../corpus-flags.js';
import type { CliIo } from '../io.js';
import { InterruptedError, interruptible } from '../io.js';
import { parseCount, parseNumber } from '../parse-flags.js';
import { shardLines } from '../shard-summary.js';
import { readTokenizerFiles } from '../tokenizer-files.js';

interface Flags extends CorpusFlags {
  readonly tokenizer: string;
  readonly out: string;
  readonly heldOut: number;
  readonly dedupe?: true;
  readonly workers?: number;
  readonly json?: true;
}

const HELP = `
${CORPUS_HELP}
Each document is followed by the end of the text. The hash of its text decides whether it is held out;
a plain text without --separator is held out and compared in blocks of about 2000 characters.
Ctrl-C keeps what is done; the same command goes on from there. What a folder of shards holds, and
whether it is sound, says looplm inspect --data FOLDER.

Examples:
  looplm tokenize notes.txt --tokenizer my-tokenizer --out data/notes
  looplm tokenize 'hf://datasets/org/texts/data/*.parquet' --tokenizer my-model --out data/texts
  looplm tokenize 'corpus/**/*.parquet' --tokenizer my-model --dedupe --out data/corpus
`;

export function registerTokenize(program: Command, io: CliIo): void {
  withCorpusFlags(program.command('tokenize'))
    .description('make shards of tokens out of text; resumes what was interrupted')
    .requiredOption('--tokenizer <folder>', 'folder with tokenizer.json, such as that of a model')
    .requiredOption('--out <folder>', 'new folder to write to')
    .option('--held-out <part>', 'part of the documents that is not trained on', parseNumber, 0.01)
    .option('--dedupe', 'leave out documents that are equal to an earlier one')
    .option('--workers <n>', 'threads (default: all cores)', parseCount)
    .option('--json', 'print one JSON object')
    .addHelpText('after', HELP)
    .action((paths: readonly string[], flags: Flags) => tokenize(paths, flags, io));
}

async function tokenize(paths: readonly string[], flags: Flags, io: CliIo): Promise<void> {
  const {
    tokenizer: name,
    out,
    heldOut,
    dedupe = false,
    workers,
    field,
    separator,
    format,
  } = flags;
  const { tokenizer, endOfTextId, files, sha256 } = await readTokenizerFiles(nodeFolder(name));
  if (!tokenizer || sha256 === undefined || endOfTextId === undefined) {
    const lacking = tokenizer
      ? `its tokenizer_config.json names no eos_token, and tokenizer.json has no <|endoftext|>`
      : `there is no tokenizer.json in it`;
    throw new ConfigError('tokenizer', `${name} cannot be used: ${lacking}. Name another folder.`);
  }
  const start = io.now();
  const bar = openByteProgress(io, 'tokenising');
  const manifest = await interruptible(io, async (signal) => {
    try {
      return await tokenizeCorpus(await localPaths(paths, format, io, signal), out, {
        tokenizer: {
          json: files['tokenizer.json']!,
          sha256,
          vocabSize: tokenizer.vocabSize,
          endOfTextId,
        },
        field,
        separator,
        format,
        heldOut,
        dedupe,
        extraFiles: files,
        env: io.env,
        ...(workers !== undefined && { numWorkers: workers }),
        progress: ({ doneBytes, totalBytes }) => bar.show(doneBytes, totalBytes),
        signal,
      });
    } catch (error) {
      if (!signal.aborted) throw error;
      bar.stop();
      io.stderr.write('Stopped. What is done is kept; the same command goes on from there.\n');
      throw new InterruptedError();
    } finally {
      bar.stop();
    }
  });
  io.stdout.write(flags.json ? jsonLine(out, manifest) : textLines(out, manifest, io, start));
}

function jsonLine(out: string, manifest: ShardManifest): string {
  const { tokenizer, settings, source, train, heldOut, leftOut } = manifest;
  return `${JSON.stringify({ out, tokenizer, settings, source, train, heldOut, leftOut })}\n`;
}

function textLines(out: string, manifest: ShardManifest, io: CliIo, start: number): string {
  const seconds = ((io.now() - start) / 1000).toFixed(1);
  return [
    ...shardLines(manifest),
    `Done in ${seconds} s. The shards are in ${printable(out)}: name them in a run's file as "data": {"shards": ${JSON.stringify(printable(out))}}`,
    '',
  ].join('\n');
}
