/** What must not come of any attack. */
import { relative } from 'node:path';
import type { Attack } from './attacks.js';
import type { Census, Place } from './place.js';
import type { Outcome } from './play.js';

/** Exit codes that the program documents, but for 1, which is a bug of its own. */
const EXIT_CODES: ReadonlySet<number | null> = new Set([0, 2, 130, 141]);

const CONTROL = 'a control character';

/** Traces of a failure that nobody foresaw. */
const RAW: readonly (readonly [what: string, pattern: RegExp])[] = [
  ['a stack', /^\s+at .+(?::\d+:\d+|<anonymous>|native)/m],
  ['an internal error', /internal error|This is a bug/i],
  ['a raw error', /\b(?:TypeError|RangeError|ReferenceError|AssertionError|ZodError)\b/],
  ['a raw message', /Cannot read properties|is not a function|is not iterable|\[object Object\]/],
  ['a warning of Node.js', /\(node:\d+\)|DeprecationWarning/],
  // oxlint-disable-next-line no-control-regex
  [CONTROL, /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/],
];

/** Which of these traces a text has; a terminal is sent control characters on purpose. */
export function rawTraces(text: string, isTerminal = false): string[] {
  return RAW.filter(([what]) => !isTerminal || what !== CONTROL).flatMap(([what, pattern]) =>
    pattern.test(text) ? [what] : [],
  );
}

const MAX_MESSAGE = 3000;

/** What is wrong with an outcome; nothing if it is as it should be. */
export function faultsOf(
  attack: Attack,
  outcome: Outcome,
  place: Place,
  before: Census,
  after: Census,
): string[] {
  return [
    ...faultsOfOutput(attack, outcome),
    ...faultsOfFiles(attack, outcome, place, before, after),
  ];
}

function faultsOfOutput(attack: Attack, outcome: Outcome): string[] {
  const { argv, env, stdout: kind } = attack;
  const isTerminal = attack.isTerminal || 'FORCE_COLOR' in env;
  const { exitCode, signal, stdout, stderr } = outcome;
  const faults: string[] = [];
  // before it listens, Ctrl-C ends any program
  const isInterrupted = signal === 'SIGINT' && attack.interruptMs !== undefined;
  if (signal !== null && !isInterrupted) faults.push(`ended by ${signal}`);
  else if (!isInterrupted && !EXIT_CODES.has(exitCode)) faults.push(`exit code ${exitCode}`);
  faults.push(...rawTraces(stderr, isTerminal));
  const isOwnText = !/^(?:generate|chat|demo)$/.test(argv[0] ?? ''); // and not a model's
  if (isOwnText) faults.push(...rawTraces(stdout, isTerminal).map((what) => `${what} on stdout`));
  if (exitCode === 2) {
    const errors = stderr.split('\n').filter((line) => line.startsWith('error: '));
    // without a command the help is the answer; of a full disk there is a second line
    const isTold = errors.length === 1 || argv.length === 0 || kind === 'full' || isTerminal;
    if (!isTold) faults.push(`${errors.length} error lines`);
    if (!stderr.endsWith('\n')) faults.push('an unfinished line');
    if (errors.some((line) => line.length > MAX_MESSAGE)) faults.push('a flood');
    if (errors.some((line) => line === 'error: ')) faults.push('an empty message');
  }
  const isWhole =
    (kind === undefined || kind === 'pipe') && !isTerminal && attack.interruptMs === undefined;
  const isHelp = argv.some((word) => /^(?:--help|-h|--version|-V|help)$/.test(word));
  if (wantsJson(argv) && isWhole && !isHelp && !isJson(stdout)) faults.push('no JSON');
  return faults;
}

/** A flag may have taken `--json` for its value. */
function wantsJson(argv: readonly string[]): boolean {
  const at = argv.lastIndexOf('--json');
  return at >= 0 && !argv[at - 1]?.startsWith('--');
}

function isJson(text: string): boolean {
  const lines = text.split('\n').filter((line) => line !== '');
  try {
    for (const line of lines) JSON.parse(line);
    return true;
  } catch {
    return false;
  }
}

function faultsOfFiles(
  { argv, stdout: kind }: Attack,
  { exitCode }: Outcome,
  { outer, path }: Place,
  before: Census,
  after: Census,
): string[] {
  const isForced = argv.includes('--force');
  const isTold = exitCode === 0 || kind === 'full' || kind === 'closed';
  const isRemoved = argv[0] === 'rm' && isTold;
  const lost = [...before].flatMap(([name, state]) => {
    const now = after.get(name);
    if (now === state || isForced) return [];
    const inner = name.slice(relative(outer, path).length + 1);
    if (isRemoved && /^(?:hf|cache)\//.test(inner)) return [];
    // a conversation is kept where it was
    if (inner === 'talk.json' && argv[0] === 'chat') return [];
    return [now === undefined ? `lost ${inner}` : `changed ${inner}`];
  });
  const left = [...after.keys()].filter(
    (name) => !before.has(name) && /\.(?:tmp|lock|removing)$/.test(name),
  );
  return [...lost, ...left.map((name) => `left ${name}`)];
}
