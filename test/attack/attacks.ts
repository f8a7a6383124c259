/**
 * Bad command lines: a good one is drawn, and then flags, values, files, paths, input or surroundings
 * of it are spoilt. An attack is a function of its seed and its number.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Draw } from '../draw.js';
import { HOSTILE_TEMPLATES } from './hostile-templates.js';
import type { Mutation } from './mutate.js';
import { damageBytes, damageJson, damageLine, damageText } from './mutate.js';
import { HUGE_TEXT, ODD_TEXTS } from './odd-values.js';
import { ODD_PATHS, PROBLEM } from './place.js';

/** A good command line, and the files that it reads. */
interface Base {
  readonly argv: readonly string[];
  readonly reads: readonly string[];
  readonly input?: string;
}

const textModel = (name: string) =>
  ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'].map(
    (file) => `${name}/${file}`,
  );
const ID_MODEL = ['id-model/config.json', 'id-model/model.safetensors'];
const SHARDED = [
  'sharded-model/config.json',
  'sharded-model/model.safetensors.index.json',
  'sharded-model/model-00001-of-00002.safetensors',
];
const FEW = ['--max-new-tokens', '2'];
const CHAT = ['chat', '--model', 'chat-model', ...FEW];
const LINES =
  'Start with 4. Add 3. What is the result?\n/new\nStart with 1. Add 1. What is the result?\n';

/** Nothing is wrong with these yet. */
export const BASES: readonly Base[] = [
  { argv: ['generate', '--model', 'id-model', '--ids', '5,9,2', ...FEW], reads: ID_MODEL },
  { argv: ['generate', '--model', 'sharded-model', '--ids', '5,9,2', ...FEW], reads: SHARDED },
  { argv: ['generate', '--prompt', PROBLEM, ...FEW], reads: [] },
  {
    argv: ['generate', '--model', 'text-model', '--prompt-file', 'problem.txt', ...FEW],
    reads: [...textModel('text-model'), 'problem.txt'],
  },
  { argv: ['generate', ...FEW], reads: [], input: PROBLEM },
  {
    argv: ['generate', '--model', 'id-model', '--ids', '5', '--dtype', 'q8', ...FEW],
    reads: ID_MODEL,
  },
  {
    argv: CHAT,
    reads: [...textModel('chat-model'), 'chat-model/chat_template.jinja'],
    input: LINES,
  },
  { argv: [...CHAT, '--history', 'talk.json'], reads: ['talk.json'], input: LINES },
  {
    argv: ['chat', '--model', 'text-model', '--chat-template', 'template.jinja', ...FEW],
    reads: ['template.jinja'],
    input: LINES,
  },
  { argv: ['inspect', '--model', 'id-model'], reads: ID_MODEL },
  { argv: ['inspect', '--model', 'text-model', '--json'], reads: textModel('text-model') },
  { argv: ['inspect', '--model', 'sharded-model'], reads: SHARDED },
  {
    argv: ['trace', '--model', 'id-model', '--ids', '5,9', '--out', 'new.safetensors'],
    reads: ID_MODEL,
  },
  {
    argv: ['train', '--config', 'train.json', '--out', 'run', '--threads', '1'],
    reads: ['train.json', 'ids.jsonl'],
  },
  {
    argv: ['eval', '--model', 'text-model', '--data', 'problems.jsonl'],
    reads: [...textModel('text-model'), 'problems.jsonl'],
  },
  {
    argv: ['convert', 'id-model', '--dtype', 'q8', '--out', 'new-model', '--workers', '1'],
    reads: ID_MODEL,
  },
  {
    argv: ['convert', 'text-model', '--dtype', 'q4', '--out', 'new-model', '--workers', '1'],
    reads: textModel('text-model'),
  },
  {
    argv: ['calibrate', 'text-model', '--text', 'notes.txt', '--out', 'new.safetensors'],
    reads: [...textModel('text-model'), 'notes.txt'],
  },
  {
    argv: ['calibrate', 'text-model', '--jsonl', 'problems.jsonl', '--out', 'new.safetensors'],
    reads: ['problems.jsonl'],
  },
  {
    argv: ['random', 'new-model', '--shape', 'shape.json', '--workers', '1'],
    reads: ['shape.json'],
  },
  { argv: ['pull', 'org/tiny', '--offline'], reads: [] },
  { argv: ['list'], reads: ['cache/converted/tiny-q8-0123456789abcdef/conversion.json'] },
  { argv: ['rm', 'org/tiny', '--yes'], reads: [] },
  { argv: ['demo', '--seed', '5'], reads: [] },
];

/** Which mutation fits a file. */
function mutationsOf(path: string): readonly Mutation[] {
  if (path.endsWith('.safetensors')) return [damageBytes];
  if (path.endsWith('.jsonl')) return [damageLine, damageLine, damageText];
  if (path.endsWith('.json')) return [damageJson, damageJson, damageJson, damageText];
  if (path.endsWith('.jinja')) {
    return [damageText, (_, draw) => Buffer.from(draw.pick(HOSTILE_TEMPLATES))];
  }
  return [damageText];
}

/** A command line in its surroundings. */
export interface Attack {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly input: string;
  readonly isTerminal: boolean;
  /** Milliseconds until Ctrl-C, for a process; in this process it comes at once or at progress. */
  readonly interruptMs: number | undefined;
  /** As a process of its own, with this standard output; undefined for in this process. */
  readonly stdout: 'pipe' | 'closed' | 'full' | undefined;
  /** What was spoilt, for people. */
  readonly story: readonly string[];
}

/** A draft that spoilers change. */
interface Draft {
  readonly base: Base;
  argv: string[];
  env: Record<string, string>;
  input: string;
  isTerminal: boolean;
  interruptMs: number | undefined;
  stdout: Attack['stdout'];
}

type Spoiler = (draft: Draft, draw: Draw, place: string, flags: FlagsOf) => string;

/** The flags of a command, as its help tells them. */
export type FlagsOf = (
  command: string,
) => readonly { readonly name: string; readonly takesValue: boolean }[];

const isFlag = (word: string) => word.startsWith('--');
const PATH_FLAGS =
  /^--(?:model|prompt-file|chat-template|history|config|data|text|jsonl|out|shape|calibration|cache-dir)$/;
/** Writing to these would leave the place of the attack. */
const OUTSIDE = /^\/(?!proc)|^~|^\.\.(?:\/\.\.)?$/;

function oddValue(flag: string | undefined, draw: Draw): string {
  const isPath = flag === undefined || PATH_FLAGS.test(flag);
  const value = draw.pick(isPath && !draw.oneIn(3) ? ODD_PATHS : ODD_TEXTS);
  return flag === '--out' && OUTSIDE.test(value) ? 'thesis' : value;
}

const spoilValue: Spoiler = (draft, draw) => {
  const places = draft.argv.map((_, at) => at).filter((at) => at > 0 && !isFlag(draft.argv[at]!));
  if (places.length === 0) return 'nothing';
  const at = draw.pick(places);
  const before = draft.argv[at - 1]!;
  const flag = isFlag(before) ? before : draft.argv[0] === 'random' ? '--out' : undefined;
  draft.argv[at] = oddValue(flag, draw);
  return `value ${JSON.stringify(draft.argv[at])}`;
};

const addFlag: Spoiler = (draft, draw, _, flags) => {
  const known = flags(draft.argv[0]!).filter(({ name }) => !/^--(?:help|recipe)$/.test(name));
  if (known.length === 0 || draw.oneIn(12)) {
    draft.argv.push(`--${draw.pick(['nope', 'out-', 'Model', '\u001b[1m', 'x'.repeat(2000)])}`);
    return 'an unknown flag';
  }
  const { name, takesValue } = draw.pick(known);
  draft.argv.push(name);
  if (takesValue && !draw.oneIn(8)) {
    draft.argv.push(
      draw.oneIn(3) ? draw.pick(['1', '2', '3', '0.5', 'f32', 'shared']) : oddValue(name, draw),
    );
  }
  return `flag ${name}`;
};

const disorder: Spoiler = (draft, draw) => {
  const { argv } = draft;
  const at = draw.below(argv.length);
  const changes: readonly (() => void)[] = [
    () => argv.splice(at, 1),
    () => argv.splice(at, 0, argv[draw.below(argv.length)]!),
    () => argv.splice(at, 0, draw.pick(ODD_TEXTS)),
    () => void (draft.argv = [draw.pick(ODD_TEXTS), ...argv]),
    () => void (draft.argv = argv.slice(0, at)),
  ];
  draw.pick(changes)();
  return 'disorder';
};

const damageFile: Spoiler = (draft, draw, place) => {
  if (draft.base.reads.length === 0) return 'nothing';
  const name = draw.pick(draft.base.reads);
  const path = join(place, name);
  writeFileSync(path, draw.pick(mutationsOf(name))(readFileSync(path), draw));
  return `damaged ${name}`;
};

const spoilInput: Spoiler = (draft, draw) => {
  draft.input = draw.pick([
    '',
    '\n\n\n',
    '/save thesis/chapter.txt\n',
    '/save null\n',
    '/save empty\n',
    '/save new-talk.json\n/save talk.json\n',
    `/save ${'x'.repeat(400)}\n`,
    '/new\n/new\n/exit',
    '\u0000\u0001\u001b[2J\n',
    '\ud800\n',
    `${'word '.repeat(3000)}\n`,
    'y\n',
    ...ODD_TEXTS,
  ]);
  return 'input';
};

const spoilEnvironment: Spoiler = (draft, draw, place) => {
  const odd = () =>
    draw.pick(['', '/', 'none', join(place, 'notes.txt'), 'null', '\u001b[31m', '1']);
  const name = draw.pick([
    'LOOPLM_CACHE',
    'HF_HOME',
    'HF_HUB_CACHE',
    'HF_ENDPOINT',
    'HF_TOKEN_PATH',
    'TERM',
    'NO_COLOR',
    'FORCE_COLOR',
    'XDG_CACHE_HOME',
    'HOME',
  ]);
  const value = odd();
  const isOutside = OUTSIDE.test(value) && !value.startsWith(place);
  draft.env[name] = isOutside ? 'none' : value;
  return `${name}=${JSON.stringify(draft.env[name])}`;
};

const spoilTerminal: Spoiler = (draft) => {
  draft.isTerminal = !draft.isTerminal;
  return 'a terminal';
};

const interrupt: Spoiler = (draft, draw) => {
  draft.interruptMs = draw.below(1500);
  return 'Ctrl-C';
};

const asJson: Spoiler = (draft) => {
  if (!draft.argv.includes('--json')) draft.argv.push('--json');
  return '--json';
};

const asProcess: Spoiler = (draft, draw) => {
  draft.stdout = draw.pick(['pipe', 'closed', 'full'] as const);
  return `stdout ${draft.stdout}`;
};

const hugeArgument: Spoiler = (draft, draw) => {
  draft.stdout = 'pipe';
  draft.argv.splice(1 + draw.below(draft.argv.length), 0, HUGE_TEXT);
  return 'a huge argument';
};

/** The first ones are drawn more often. */
const SPOILERS: readonly Spoiler[] = [
  damageFile,
  damageFile,
  damageFile,
  damageFile,
  spoilValue,
  spoilValue,
  spoilValue,
  addFlag,
  addFlag,
  addFlag,
  disorder,
  spoilInput,
  spoilEnvironment,
  spoilTerminal,
  asJson,
  interrupt,
];
const PROCESS_SPOILERS: readonly Spoiler[] = [asProcess, asProcess, hugeArgument];

/** Draws an attack and spoils the files of its place. */
export function drawAttack(seed: number, index: number, place: string, flags: FlagsOf): Attack {
  const draw = new Draw(seed, index);
  const base = draw.pick(BASES);
  const draft: Draft = {
    base,
    argv: [...base.argv],
    env: { HF_HUB_OFFLINE: '1' },
    input: base.input ?? '',
    isTerminal: false,
    interruptMs: undefined,
    stdout: undefined,
  };
  const spoilers = Array.from({ length: 1 + draw.below(3) }, () => draw.pick(SPOILERS));
  if (index % 8 === 7) spoilers.push(draw.pick(PROCESS_SPOILERS));
  const story = spoilers.map((spoil) => spoil(draft, draw, place, flags));
  const { base: _, ...attack } = draft;
  return { ...attack, story };
}
