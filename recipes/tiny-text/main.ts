/**
 * The whole life of a small model on real text: `npm run recipe:tiny-text -- FOLDER`.
 *
 * A corpus, a tokenizer, shards, four stages of pre-training, conversations and an exit gate, each by
 * a command of looplm, which is printed. What is done is not done again: after Ctrl-C the same command
 * goes on. `--scale 0.1` makes every stage so much shorter.
 */
import { spawn } from 'node:child_process';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ConfigError } from 'looplm/errors';
import { writeFileAtomic } from 'looplm/node';
import { readArguments, runScript } from '../run-script.js';
import { readCorpus } from './corpus.js';
import { PATHS, VOCAB_SIZE, baseConfig, chatConfig, stepsOf } from './configs.js';

const CLI = fileURLToPath(new URL('../../bin/looplm.js', import.meta.url));
const PACKAGES = fileURLToPath(new URL('../../../node_modules', import.meta.url));

async function main(): Promise<number> {
  const { values, positionals } = readArguments({
    options: { scale: { type: 'string', default: '1' } },
    allowPositionals: true,
  });
  const [folder] = positionals;
  const scale = Number(values.scale);
  if (folder === undefined || !(scale > 0 && scale <= 100)) {
    throw new ConfigError(
      'folder',
      'Give the folder to work in, and a --scale above 0 if any: npm run recipe:tiny-text -- runs/tiny-text',
    );
  }
  const at = (...parts: string[]) => join(folder, ...parts);
  await writeInputs(at, scale);
  const lines = (name: string) => at('corpus', `${name}.jsonl`);
  const tokenizer = ['--tokenizer', at(PATHS.tokenizer)];
  const learn = ['train-tokenizer', lines('readmes'), lines('others')];
  const size = ['--vocab-size', String(VOCAB_SIZE), '--out', at(PATHS.tokenizer)];
  const commands: readonly (readonly [done: string, ...argv: string[]])[] = [
    [at(PATHS.tokenizer, 'tokenizer.json'), ...learn, ...size],
    ...[PATHS.readmes, PATHS.others].map((path) => {
      const corpus = lines(path.replace('data/', ''));
      const argv = ['tokenize', corpus, ...tokenizer, '--held-out', '0.1', '--out', at(path)];
      return [at(path, 'shards.json'), ...argv] as const;
    }),
    ...[PATHS.base, PATHS.chat].map((name) => {
      const argv = ['train', '--config', at(`${name}.json`), '--out', at(name)];
      return [at(name, 'model.safetensors'), ...argv] as const;
    }),
  ];
  for (const [done, ...argv] of commands) {
    if (await exists(done)) continue;
    console.log(`looplm ${argv.join(' ')}`);
    const code = await looplm(argv);
    if (code !== 0) return code;
  }
  console.log(`Done: looplm chat --model ${at(PATHS.chat)}`);
  return 0;
}

/** Corpus and run files. They are the same each time, so that runs resume. */
async function writeInputs(at: (...parts: string[]) => string, scale: number): Promise<void> {
  const { readmes, others, chats } = await readCorpus(PACKAGES);
  const json = (values: readonly object[]) =>
    values.map((it) => `${JSON.stringify(it)}\n`).join('');
  const texts = (values: readonly string[]) => json(values.map((text) => ({ text })));
  const steps = stepsOf(scale);
  const files = {
    'corpus/readmes.jsonl': texts(readmes),
    'corpus/others.jsonl': texts(others),
    [PATHS.chats]: json(chats),
    'base.json': JSON.stringify(baseConfig(steps), null, 2),
    'chat.json': JSON.stringify(chatConfig(steps), null, 2),
  };
  for (const [name, text] of Object.entries(files)) await writeFileAtomic(at(name), text);
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

function looplm(argv: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CLI, ...argv], { stdio: 'inherit' });
    // Ctrl-C reaches the child as well, which ends in its own time.
    const wait = () => {};
    process.on('SIGINT', wait);
    child.on('error', reject).on('close', (code) => {
      process.off('SIGINT', wait);
      resolve(code ?? 1);
    });
  });
}

await runScript(main);
