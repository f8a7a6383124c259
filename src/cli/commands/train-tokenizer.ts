/**
 * `looplm train-tokenizer`: a byte-level BPE tokenizer from text.
 */
import { join, resolve } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { Command } from 'commander';
import { corpusTexts } from '../../data/index.js';
import {
  fileExists,
  findCorpusFiles,
  openFile,
  prepareWriting,
  writeFileAtomic,
} from '../../platform/node/index.js';
import {
  CHATML_TEMPLATES,
  CHATML_TOKENS,
  TokenizerTrainer,
  chatmlTokenizerConfig,
} from '../../tokenizer/index.js';
import { FileError } from '../../errors.js';
import { printable } from '../../util/quote.js';
import { openByteProgress, openProgress } from '../byte-progress.js';
import type { CorpusFlags } from '../corpus-flags.js';
import { CORPUS_HELP, localPaths, withCorpusFlags } from '../corpus-flags.js';
import type { CliIo } from '../io.js';
import { interruptible } from '../io.js';
import { collect, parseCount } from '../parse-flags.js';
import { short } from '../table.js';

interface Flags extends CorpusFlags {
  readonly vocabSize: number;
  readonly minFrequency: number;
  readonly special: readonly string[];
  readonly splitDigits?: true;
  readonly out: string;
  readonly force?: true;
  readonly json?: true;
}

const FILE = 'tokenizer.json';
const CONFIG_FILE = 'tokenizer_config.json';

const HELP = `
${CORPUS_HELP}
The folder gets a tokenizer.json that the Hugging Face tokenizers library reads, too, and a
tokenizer_config.json with a ChatML template. ${CHATML_TOKENS.join(', ')} are the first ids, then those of
--special, then the 256 bytes. Memory grows with the number of different words, not with the text.

Examples:
  looplm train-tokenizer notes.txt --vocab-size 2048 --out my-tokenizer
  looplm train-tokenizer 'data/**/*.jsonl' --field content --vocab-size 16384 --out my-tokenizer
`;

export function registerTrainTokenizer(program: Command, io: CliIo): void {
  withCorpusFlags(program.command('train-tokenizer'))
    .description('train a byte-level BPE tokenizer on text')
    .requiredOption('--vocab-size <n>', 'tokens in all, at most', parseCount)
    .requiredOption('--out <folder>', 'folder to write the two files to')
    .option('--min-frequency <n>', 'pairs that are rarer are not merged', parseCount, 2)
    .option('--special <token>', 'a further special token; may be given several times', collect, [])
    .option('--split-digits', 'make every digit a token of its own')
    .option('--force', 'replace a tokenizer that is there')
    .option('--json', 'print one JSON object')
    .addHelpText('after', HELP)
    .action((paths: readonly string[], flags: Flags) => trainTokenizer(paths, flags, io));
}

async function trainTokenizer(paths: readonly string[], flags: Flags, io: CliIo): Promise<void> {
  const { vocabSize, minFrequency, special, splitDigits = false, out } = flags;
  const trainer = new TokenizerTrainer({
    vocabSize,
    minFrequency,
    specialTokens: [...CHATML_TOKENS, ...special],
    splitDigits,
  });
  await checkTarget(out, flags.force);
  const numTokens = await interruptible(io, async (signal) => {
    const textBytes = await readAll(paths, flags, trainer, signal, io);
    const { json, size } = await learn(trainer, vocabSize, signal, io);
    await writeFileAtomic(
      join(out, CONFIG_FILE),
      chatmlTokenizerConfig(CHATML_TEMPLATES.corrected),
    );
    await writeFileAtomic(join(out, FILE), `${JSON.stringify(json)}\n`);
    return { textBytes, size };
  });
  const result = { out, vocabSize: numTokens.size, words: trainer.numWords, ...numTokens };
  const fewer = result.size < vocabSize ? `, as no other pair occurs ${minFrequency} times` : '';
  io.stdout.write(
    flags.json
      ? `${JSON.stringify({ out, vocabSize: result.size, words: result.words, sourceBytes: result.textBytes })}\n`
      : `Trained ${result.size} tokens on ${short(result.words)} different words${fewer}. The tokenizer is in ${printable(out)}: try looplm train --text FILE --tokenizer ${printable(out)}\n`,
  );
}

async function checkTarget(out: string, force: true | undefined): Promise<void> {
  for (const name of [FILE, CONFIG_FILE]) {
    const path = join(out, name);
    await prepareWriting(path);
    if (force || !(await fileExists(path))) continue;
    throw new FileError(path, `${path} is there already. Name another folder, or give --force.`);
  }
}

/** Pushes all texts; returns their size in the files. */
async function readAll(
  paths: readonly string[],
  { field, separator, format }: CorpusFlags,
  trainer: TokenizerTrainer,
  signal: AbortSignal,
  io: CliIo,
): Promise<number> {
  const local = await localPaths(paths, format, io, signal);
  const files = await findCorpusFiles(local, format, { env: io.env, signal });
  const totalBytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const progress = openByteProgress(io, 'reading');
  let doneBytes = 0;
  try {
    for (const { path, format: found, sizeBytes } of files) {
      const file = await openFile(path);
      let readBytes = 0;
      const source = {
        ...file,
        async read(offset: number, length: number) {
          readBytes = Math.max(readBytes, offset + length);
          return file.read(offset, length);
        },
      };
      const end = found === 'parquet' ? Infinity : sizeBytes;
      const texts = corpusTexts(source, found, { start: 0, end }, { field, separator });
      let shownBytes = 0;
      try {
        for await (const { text, endsDocument } of texts) {
          trainer.push(text);
          if (endsDocument) trainer.endText();
          if (readBytes === shownBytes) continue;
          shownBytes = readBytes;
          progress.show(doneBytes + Math.min(readBytes, sizeBytes), totalBytes);
          await setImmediate(); // lets Ctrl-C be heard
          signal.throwIfAborted();
        }
      } finally {
        await file.close();
      }
      doneBytes += sizeBytes;
    }
  } finally {
    progress.stop();
  }
  if (trainer.numWords > 0) return totalBytes;
  const [first] = paths;
  throw new FileError(
    resolve(first!),
    `There is no text in ${paths.join(', ')}. Give files that hold some.`,
  );
}

/** Merges between two looks at Ctrl-C. */
const MERGES_AT_ONCE = 50;

async function learn(
  trainer: TokenizerTrainer,
  vocabSize: number,
  signal: AbortSignal,
  io: CliIo,
): Promise<{ readonly json: object; readonly size: number }> {
  const progress = openProgress(io, 'merging', ' tokens');
  const steps = trainer.learn();
  try {
    for (let step = steps.next(), count = 0; ; step = steps.next(), count++) {
      if (step.done) {
        const { model } = step.value as { model: { vocab: object } };
        return { json: step.value, size: Object.keys(model.vocab).length };
      }
      if (count % MERGES_AT_ONCE > 0) continue;
      progress.show(step.value, vocabSize);
      await setImmediate();
      signal.throwIfAborted();
    }
  } finally {
    progress.stop();
  }
}
