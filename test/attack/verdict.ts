/** One attack from its draw to its verdict. */
import { rmSync } from 'node:fs';
import { cli } from '../cli/run-cli.js';
import type { FlagsOf } from './attacks.js';
import { drawAttack } from './attacks.js';
import { faultsOf } from './judge.js';
import { attackLibrary } from './library.js';
import { makePlace, takeCensus } from './place.js';
import { play } from './play.js';

/** What came of an attack, for people and for counting. */
export interface Verdict {
  readonly index: number;
  /** The command, or the call of the library. */
  readonly target: string;
  /** What was spoilt. */
  readonly story: string;
  /** How it ended: an exit code with the end of what was printed, or an error. */
  readonly end: string;
  readonly details: readonly string[];
  readonly faults: readonly string[];
}

/** Every so many attacks one is on the library. */
const LIBRARY_SHARE = 5;

/** Told before an attack is played: it may be the last that is heard. */
type OnDrawn = (details: string) => void;

/** Plays the attack of a seed with a number. */
export function verdictOf(
  seed: number,
  index: number,
  onDrawn: OnDrawn = () => {},
): Promise<Verdict> {
  return index % LIBRARY_SHARE === 0
    ? onLibrary(seed, index, onDrawn)
    : onCommand(seed, index, onDrawn);
}

async function onLibrary(seed: number, index: number, onDrawn: OnDrawn): Promise<Verdict> {
  const { name, story, end, faults } = await attackLibrary(seed, index, onDrawn);
  const isResult = end === 'a result';
  return {
    index,
    target: `library ${name}`,
    story,
    end: isResult ? end : 'an error',
    details: [end],
    faults,
  };
}

async function onCommand(seed: number, index: number, onDrawn: OnDrawn): Promise<Verdict> {
  const place = makePlace();
  const home = process.cwd();
  try {
    const attack = drawAttack(seed, index, place.path, await knownFlags());
    onDrawn(JSON.stringify(attack));
    const before = takeCensus(place);
    const outcome = await play(attack, place);
    const faults = faultsOf(attack, outcome, place, before, takeCensus(place));
    const { argv, env, input, story } = attack;
    const quoted = (value: unknown) => JSON.stringify(value).slice(0, 300);
    return {
      index,
      target: argv[0] ?? 'nothing',
      story: story.join(', '),
      end: `code ${outcome.exitCode ?? outcome.signal}`,
      details: [
        `looplm ${argv.map(quoted).join(' ')}`,
        `env ${quoted(env)} input ${quoted(input)}`,
        JSON.stringify(outcome.stderr.slice(-600)),
      ],
      faults,
    };
  } finally {
    process.chdir(home);
    rmSync(place.outer, { recursive: true, force: true });
  }
}

let known: Promise<FlagsOf> | undefined;

/** The flags of every command, from their helps. */
function knownFlags(): Promise<FlagsOf> {
  return (known ??= readFlags());
}

async function readFlags(): Promise<FlagsOf> {
  const { stdout } = await cli(['--help']);
  const commands = stdout.split('\nCommands:\n')[1]?.match(/^ {2}\w+/gm) ?? [];
  const table = new Map<string, ReturnType<FlagsOf>>();
  for (const command of commands.map((name) => name.trim())) {
    const help = (await cli([command, '--help'])).stdout;
    const flags = [...help.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)( <)?/gm)];
    table.set(
      command,
      flags.map(([, name, value]) => ({ name: name!, takesValue: value !== undefined })),
    );
  }
  return (command) => table.get(command) ?? [];
}
