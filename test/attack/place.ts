/**
 * Where an attack takes place: a folder with files that a user would miss, and a list of what was there
 * before, so that what is lost or changed is seen.
 */
import { spawnSync } from 'node:child_process';
import type { BigIntStats } from 'node:fs';
import {
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { repositoryPath } from '../repository.js';

export const PROBLEM =
  'The ball is under cup 3. Swap cups 2 and 3. Swap cups 1 and 5. Where is the ball?';
const TEXT_MODEL = ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'];
const ID_MODEL = ['config.json', 'model.safetensors'];

const TRAIN = {
  model: {
    model_type: 'ouro',
    architectures: ['OuroForCausalLM'],
    hidden_size: 32,
    intermediate_size: 48,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    num_key_value_heads: 2,
    head_dim: 16,
    vocab_size: 16,
    max_position_embeddings: 32,
    rms_norm_eps: 1e-6,
    rope_theta: 10_000,
    total_ut_steps: 2,
    initializer_range: 0.02,
    hidden_act: 'silu',
    tie_word_embeddings: false,
  },
  data: { path: 'ids.jsonl', rows: 2, length: 8 },
  objective: { kind: 'stage-1', beta: 0.1 },
  learningRate: 0.001,
  trainSteps: 2,
};

const SAVED_CHAT = {
  looplmChat: 1,
  model: 'chat-model',
  messages: [
    { role: 'user', content: 'Start with 4. Add 3. What is the result?' },
    { role: 'assistant', content: ' 7' },
  ],
};

const TEMPLATE =
  '{% for m in messages %}{{ m.content }}{% if not loop.last %}; {% endif %}{% endfor %}';

/** Fills a folder; without the kinds of files that cannot be made here. */
function furnish(place: string): void {
  const at = (...parts: string[]) => join(place, ...parts);
  const model = (name: string, from: string, files: readonly string[]) => {
    mkdirSync(at(name));
    for (const file of files) cpSync(join(repositoryPath(from), file), at(name, file));
  };
  model('text-model', 'models/bundled', TEXT_MODEL);
  model('chat-model', 'models/bundled', TEXT_MODEL);
  writeFileSync(at('chat-model', 'chat_template.jinja'), TEMPLATE);
  model('id-model', 'test/fixtures/tiny-mha', ID_MODEL);
  model('sharded-model', 'test/fixtures/tiny-gqa-tied', [
    'config.json',
    'model.safetensors.index.json',
    'model-00001-of-00002.safetensors',
    'model-00002-of-00002.safetensors',
  ]);
  writeFileSync(at('notes.txt'), `${PROBLEM} 5\n`.repeat(20));
  writeFileSync(at('problem.txt'), `${PROBLEM}\n`);
  writeFileSync(at('template.jinja'), TEMPLATE);
  const problem = JSON.stringify({ prompt: PROBLEM, answer: ' 5' });
  writeFileSync(at('problems.jsonl'), `${problem}\n`.repeat(4));
  writeFileSync(at('ids.jsonl'), '{"ids":[1,2,3,4],"targets":[2,3,4,5]}\n'.repeat(4));
  writeFileSync(at('train.json'), JSON.stringify(TRAIN));
  writeFileSync(at('talk.json'), JSON.stringify(SAVED_CHAT));
  writeFileSync(at('shape.json'), JSON.stringify(TRAIN.model));
  mkdirSync(at('empty'));
  mkdirSync(at('thesis'));
  writeFileSync(at('thesis', 'chapter.txt'), 'years of work\n');
  symlinkSync('thesis/chapter.txt', at('link'));
  symlinkSync('thesis', at('folder-link'));
  symlinkSync('nowhere', at('dangling'));
  symlinkSync('circle', at('circle'));
  // Nodes of our own: those of the system must not be at risk.
  spawnSync('mkfifo', [at('pipe')]);
  spawnSync('mknod', [at('null'), 'c', '1', '3']);
  spawnSync('mknod', [at('full'), 'c', '1', '7']);
  makeCache(place);
}

/** A model of the hub and a conversion, both too small to run. */
function makeCache(place: string): void {
  const commit = 'c'.repeat(40);
  const repo = join(place, 'hf', 'hub', 'models--org--tiny');
  const snapshot = join(repo, 'snapshots', commit);
  mkdirSync(snapshot, { recursive: true });
  mkdirSync(join(repo, 'blobs'));
  mkdirSync(join(repo, 'refs'));
  writeFileSync(join(repo, 'refs', 'main'), commit);
  for (const [hash, name] of [
    ['a', 'config.json'],
    ['b', 'model.safetensors'],
  ] as const) {
    writeFileSync(join(repo, 'blobs', hash.repeat(40)), '{}');
    symlinkSync(`../../blobs/${hash.repeat(40)}`, join(snapshot, name));
  }
  const conversion = join(place, 'cache', 'converted', 'tiny-q8-0123456789abcdef');
  mkdirSync(conversion, { recursive: true });
  writeFileSync(join(conversion, 'conversion.json'), '{}');
}

/** Paths to give where a file or folder is expected. */
export const ODD_PATHS: readonly string[] = [
  'none',
  'none/deeper',
  'empty',
  'thesis',
  'thesis/chapter.txt',
  'notes.txt',
  'notes.txt/below',
  'link',
  'folder-link',
  'dangling',
  'circle',
  'null',
  'full',
  'text-model',
  'text-model/model.safetensors',
  'id-model/config.json',
  'train.json',
  'problems.jsonl',
  'talk.json',
  '.',
  '..',
  '/',
  '/proc/self/none',
  'x'.repeat(300),
  `${'d/'.repeat(300)}x`,
  'a\nb',
  'a\u001b[31mb',
  '~',
  '',
];

/** A furnished folder, and the folder around it, which is to stay as it is, too. */
export interface Place {
  readonly outer: string;
  readonly path: string;
}

let template: string | undefined;

/** A new furnished folder; remove `outer` when it is no longer needed. */
export function makePlace(): Place {
  const make = () => mkdtempSync(join(tmpdir(), 'looplm-attack-'));
  if (template === undefined) {
    const made = (template = make());
    furnish(made);
    process.on('exit', () => rmSync(made, { recursive: true, force: true }));
  }
  const outer = make();
  const path = join(outer, 'deep', 'er', 'place');
  mkdirSync(path, { recursive: true });
  spawnSync('cp', ['-a', `${template}/.`, path]); // knows nodes and pipes
  return { outer, path };
}

export type Census = ReadonlyMap<string, string>;

/** Everything in a folder: what it is, and when it was last written. */
export function takeCensus({ outer }: Place): Census {
  const census = new Map<string, string>();
  const visit = (folder: string) => {
    for (const name of readdirSync(folder)) {
      const path = join(folder, name);
      const info = lstatSync(path, { bigint: true });
      census.set(relative(outer, path), describe(info));
      if (info.isDirectory()) visit(path);
    }
  };
  visit(outer);
  return census;
}

function describe(info: BigIntStats): string {
  // a folder changes whenever something in it is made
  if (info.isDirectory()) return `folder ${info.ino} ${info.mode}`;
  return [info.ino, info.mode, info.size, info.mtimeNs, info.rdev].join(' ');
}
