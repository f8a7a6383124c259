/**
 * `npm run stress:kill -- --seed N --kills 20`: trainings of every kind of stage, of an adapter and of a policy, killed
 * with SIGKILL at random moments and started again; each must end in the bytes of one that was not.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { syntheticTokenizerFiles } from '../../src/tokenizer/index.js';
import { Draw } from '../draw.js';
import { readFlags } from '../flags.js';
import type { Program } from '../programs.js';
import { sleep, startProgram } from '../programs.js';
import { repositoryPath } from '../repository.js';

const MAIN = repositoryPath('dist/bin/looplm.js');
const THREADS = ['--threads', '1'];

/** Every objective, optimizer and change of the model that a stage may have. */
const STAGES = [
  {
    name: 'stage I, loops drawn, Muon with averages, a ramp',
    trainSteps: 9,
    loops: { from: 1, to: 3 },
    optimizer: { kind: 'muon', averageDecay: 0.9 },
    accumulate: { from: 1, to: 3, overTrainSteps: 6 },
    schedule: { kind: 'wsd', warmupTrainSteps: 2, decayTrainSteps: 3 },
    mixture: { one: 1, two: 2 },
  },
  {
    name: 'more layers, longer rows, another base, truncated',
    trainSteps: 7,
    loops: 2,
    upcycle: { numHiddenLayers: 2, order: 'interleaved' },
    rows: 1,
    length: 128,
    ropeTheta: 40_000,
    backpropLoops: 1,
    recompute: 'loop',
  },
  {
    name: 'annealing',
    trainSteps: 6,
    rows: 1,
    length: 128,
    optimizerState: 'kept',
    mixture: { two: 1 },
  },
  {
    name: 'last loop, some weights',
    trainSteps: 6,
    objective: { kind: 'last-loop' },
    trained: ['*.mlp.*'],
  },
  { name: 'gate, published', trainSteps: 6, objective: { kind: 'stage-2', target: 'published' } },
  { name: 'gate, forward', trainSteps: 6, objective: { kind: 'stage-2', target: 'forward' } },
];

/** Rewards that take a moment, and some that throw, hang, or are no number. */
const TASK = `const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
export default {
  name: 'sums',
  maxDifficulty: 3,
  draw: (rng, difficulty) => ({ prompt: 'one of '.repeat(difficulty) + (Math.abs(rng.next()) % 9) }),
  async reward({ tokenIds }) {
    const sum = tokenIds.reduce((total, id) => total + id, 0);
    if (sum % 11 === 0) throw new Error('no reward');
    if (sum % 11 === 1) return NaN;
    if (sum % 61 === 2) await new Promise(() => {});
    await wait(sum % 20);
    return (sum % 7) / 6;
  },
};
`;

/** What is played in turn, and by which command; later ones begin with what the first has come to. */
const RUNS = { stages: 'train', chat: 'train', adapter: 'train', policy: 'rl' } as const;
type RunName = keyof typeof RUNS;
const NAMES = Object.keys(RUNS) as RunName[];

const { seed, kills: wanted } = readFlags({ seed: 1, kills: 20 });
const draw = new Draw(seed);
const folder = mkdtempSync(join(tmpdir(), 'looplm-kill-'));
const at = (...names: string[]) => join(folder, ...names);
const say = (line: string) => void process.stdout.write(`${line}\n`);

/** Runs a command of looplm to its end. */
async function looplm(...argv: string[]): Promise<void> {
  const program = startProgram(process.execPath, [MAIN, ...argv]);
  if ((await program.ended) !== 0) throw new Error(program.output());
}

async function writeInputs(): Promise<void> {
  mkdirSync(at('tokenizer'));
  for (const [name, text] of Object.entries(syntheticTokenizerFiles(300))) {
    writeFileSync(at('tokenizer', name), text);
  }
  const lines = (values_: readonly object[]) => values_.map((it) => JSON.stringify(it)).join('\n');
  for (const name of ['one', 'two']) {
    const texts = Array.from({ length: 80 }, (_, n) => ({ text: `${name} of ${n}. `.repeat(4) }));
    writeFileSync(at(`${name}.jsonl`), lines(texts));
    const words = ['--tokenizer', at('tokenizer'), '--workers', '1', '--out', at(name)];
    await looplm('tokenize', at(`${name}.jsonl`), ...words);
  }
  const chats = Array.from({ length: 60 }, (_, n) => {
    return { prompt: `What is ${n}?`, completion: `A number, ${n}.` };
  });
  writeFileSync(at('chat.jsonl'), lines(chats));
  const run = {
    data: { shards: [{ path: 'one' }, { path: 'two' }], rows: 2, length: 64 },
    model: { hidden_size: 32, num_hidden_layers: 1, total_ut_steps: 2 },
    validation: { fraction: 0 },
    logEvery: 1,
    snapshotEvery: 2,
    stages: STAGES,
  };
  writeFileSync(at('stages.json'), JSON.stringify(run));
  const chat = { chat: 'chat.jsonl', rows: 2, length: 128, epochs: 1 };
  const tuning = { ...run, data: chat, from: 'stages-whole', model: undefined, stages: undefined };
  writeFileSync(at('chat.json'), JSON.stringify(tuning));
  writeFileSync(at('adapter.json'), JSON.stringify({ ...tuning, lora: { r: 2, lora_alpha: 4 } }));
  writeFileSync(at('task.mjs'), TASK);
  const policy = {
    from: 'stages-whole',
    task: 'task.mjs',
    rows: 2,
    length: 48,
    groups: 3,
    groupSize: 4,
    maxNewTokens: 24,
    rewardTimeoutSeconds: 5,
    policy: { credit: { kind: 'depth-action' }, klCoefficient: 0.1 },
    evaluation: { problems: 4, everyTrainSteps: 4 },
    training: { learningRate: 0.001, trainSteps: 12, snapshotEvery: 3 },
  };
  writeFileSync(at('policy.json'), JSON.stringify(policy));
}

const STEP = /train step \d+ of/g;
/** Train steps of a sitting, at most, and how long after one the signal comes. */
const MAX_STEPS = 6;
const MAX_DELAY_MS = 300;

/** Waits for a moment to kill a program: at any time of its start, or some time after some train steps. */
async function momentOf(program: Program): Promise<void> {
  const steps = draw.oneIn(5) ? 0 : 1 + draw.below(MAX_STEPS);
  const delay = draw.below(steps === 0 ? 10 * MAX_DELAY_MS : MAX_DELAY_MS);
  let hasEnded = false;
  void program.ended.then(() => (hasEnded = true));
  while (!hasEnded && (program.output().match(STEP)?.length ?? 0) < steps) await sleep(5);
  await sleep(delay);
}

/** Starts a run again and again until it ends; how often it was killed. */
async function playKilled(argv: readonly string[]): Promise<number> {
  for (let kills = 0; ; kills++) {
    const program = startProgram(process.execPath, [MAIN, ...argv]);
    const due = momentOf(program).then(() => 'due' as const);
    const code = await Promise.race([program.ended, due]);
    if (code === 0) return kills;
    if (code !== 'due') throw new Error(program.output());
    await program.stop('SIGKILL');
    say(
      `  killed after ${program.output().match(STEP)?.at(-1)?.replace(' of', '') ?? 'no train step'}`,
    );
  }
}

/** Files of results: of a run those that it has. */
const FILES = ['model.safetensors', 'adapter_model.safetensors', 'snapshot.safetensors'];

/** Plays a run whole and killed; its kills, and whether both ended alike. */
async function play(name: RunName): Promise<{ readonly kills: number; readonly isEqual: boolean }> {
  const argvOf = (out: string) => {
    return [RUNS[name], '--config', at(`${name}.json`), '--out', at(out), ...THREADS];
  };
  say(name);
  await looplm(...argvOf(`${name}-whole`));
  const kills = await playKilled(argvOf(`${name}-killed`));
  const files = FILES.filter((file) => existsSync(at(`${name}-whole`, file)));
  const isEqual =
    files.length === 2 &&
    files.every((file) =>
      readFileSync(at(`${name}-whole`, file)).equals(readFileSync(at(`${name}-killed`, file))),
    );
  rmSync(at(`${name}-killed`), { recursive: true });
  say(`  killed ${kills} times: ${isEqual ? 'equal bytes' : 'FAULT: other bytes'}`);
  return { kills, isEqual };
}

try {
  await writeInputs();
  let total = 0;
  let faults = 0;
  for (let turn = 0; turn < NAMES.length || total < wanted; turn++) {
    const name = NAMES[turn % NAMES.length]!;
    rmSync(at(`${name}-whole`), { recursive: true, force: true });
    const { kills, isEqual } = await play(name);
    total += kills;
    faults += isEqual ? 0 : 1;
  }
  say(`seed ${seed}, ${total} kills, ${faults} faults`);
  process.exitCode = faults > 0 ? 1 : 0;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
