/**
 * Two replicas behind HAProxy, watched by Prometheus: under load, with one drained, with one killed, with
 * sessions that share beginnings, with more of one session than a replica takes. What must not happen
 * is noted as a fault, the rest told in figures.
 */
import { Draw } from '../draw.js';
import { Balancer } from './balancer.js';
import { sleep, until } from '../programs.js';
import { Prometheus } from './prometheus.js';
import { MAX_SEQUENCES, Replica } from './replica.js';
import type { Answer, Outcome, WireRequest } from './requests.js';
import { compare, drawRequest, inParallel, send } from './requests.js';
import { watchQueries, watchReplicaDown } from './watch.js';

/** Programs that the arrangement is made of. */
export const DEPLOY_PROGRAMS = ['haproxy', 'prometheus', 'promtool'] as const;

export interface ScenarioOptions {
  readonly seed: number;
  /** Of each load; it is played three times. */
  readonly numRequests: number;
  readonly maxTokens: number;
  /** Of each way to say that requests belong together. */
  readonly numSessions: number;
  /** For files of the programs. */
  readonly folder: string;
  readonly say: (line: string) => void;
}

/** The programs that run, and what was seen of them. */
interface Scene {
  readonly options: ScenarioOptions;
  readonly replicas: readonly [Replica, Replica];
  readonly balancer: Balancer;
  readonly prometheus: Prometheus;
  /** What each request of the load gives where nothing else is computed. */
  readonly alone: readonly Answer[];
  readonly faults: string[];
  /** Ids of the requests that clients have an answer to. */
  readonly answered: string[];
}

/** More than both replicas compute at a time, so that some wait. */
const NUM_AT_A_TIME = 3 * MAX_SEQUENCES;
/** Part of a load that is answered before something happens to a replica. */
const BEFORE_EVENT = 0.25;
const SAMPLE_MS = 100;
const NUM_TURNS = 4;
const BEGINNING_TOKENS = 300;
const TURN_TOKENS = 20;
const GONE_AFTER_MS = 200;
/** Token ids of the bundled model that are words and bytes. */
const VOCAB_SIZE = 300;

/** Plays all of it; gives the faults. */
export async function playScenario(options: ScenarioOptions): Promise<readonly string[]> {
  await using first = await Replica.start('replica-1');
  const faults: string[] = [];
  const alone = await answersAlone(first, options, faults);
  await using second = await Replica.start('replica-2');
  await using balancer = await Balancer.start([first, second], options.folder);
  const ports = { looplm: [first.port, second.port], haproxy: [balancer.statusPort] };
  await using prometheus = await Prometheus.start(ports, options.folder);
  const replicas = [first, second] as const;
  const scene = { options, replicas, balancer, prometheus, alone, faults, answered: [] };
  await underLoad(scene);
  await withOneDrained(scene);
  await withOneKilled(scene);
  await withSessions(scene);
  await withACrowd(scene);
  await withClientsGone(scene);
  await watchQueries(prometheus, faults, options.say);
  checkAnsweredOnce(scene);
  await withNobody(scene);
  return faults;
}

/** Whether a request was answered to the end by more than one replica, or twice by one. */
function checkAnsweredOnce({ replicas, answered, faults, options }: Scene): void {
  const counts = new Map<string, number>();
  for (const id of replicas.flatMap((replica) => replica.answered())) {
    counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  for (const id of answered) {
    const count = counts.get(id) ?? 0;
    if (count !== 1) faults.push(`request ${id} was computed to the end ${count} times`);
  }
  options.say(`each of ${answered.length} answers was computed once`);
}

function loadRequest({ seed, maxTokens }: ScenarioOptions, index: number): WireRequest {
  return drawRequest(seed, index, maxTokens);
}

/** One after the other on a replica that does nothing else. */
async function answersAlone(
  replica: Replica,
  options: ScenarioOptions,
  faults: string[],
): Promise<readonly Answer[]> {
  const answers: Answer[] = [];
  for (let index = 0; index < options.numRequests; index += 1) {
    const outcome = await send(replica.url, loadRequest(options, index), `alone-${index}`);
    if (outcome.kind === 'answered') answers.push(outcome.answer);
    else throw new Error(`request ${index} alone: ${JSON.stringify(outcome)}`);
  }
  const empty = answers.filter(
    ({ tokenIds, exitDepths }) => !tokenIds.length || !exitDepths.length,
  );
  if (empty.length > 0) faults.push(`${empty.length} answers alone have no tokens or depths`);
  return answers;
}

/** Sends the load through the balancer; `event` happens in the midst of it. */
async function playLoad(
  scene: Scene,
  name: string,
  event: () => Promise<void> = async () => {},
): Promise<readonly Outcome[]> {
  const { options, balancer, answered } = scene;
  const { numRequests } = options;
  let numDone = 0;
  let happened: Promise<void> | undefined;
  const tasks = Array.from({ length: numRequests }, (_, index) => async () => {
    const id = `${name}-${index}`;
    const outcome = await send(balancer.url, loadRequest(options, index), id);
    if (outcome.kind === 'answered') answered.push(id);
    numDone += 1;
    if (numDone >= numRequests * BEFORE_EVENT) happened ??= event();
    return outcome;
  });
  const outcomes = await inParallel(tasks, NUM_AT_A_TIME);
  await happened;
  return outcomes;
}

/** Notes as faults what is not the answer alone, but for those that may be lost. */
function compareAlone(
  { alone, faults }: Scene,
  name: string,
  outcomes: readonly Outcome[],
  mayBeLost: (id: string) => boolean = () => false,
): number {
  let numLost = 0;
  for (const [index, outcome] of outcomes.entries()) {
    const id = `${name}-${index}`;
    const isClean = outcome.kind === 'broken' || outcome.kind === 'refused';
    if (isClean && mayBeLost(id)) {
      numLost += 1;
      continue;
    }
    const fault = compare(outcome, alone[index]!);
    if (fault !== undefined) faults.push(`request ${id}: ${fault}`);
  }
  return numLost;
}

/** Weights must follow the load, and both replicas work. */
async function underLoad(scene: Scene): Promise<void> {
  const { balancer, replicas, faults, options } = scene;
  const least = new Map(replicas.map(({ name }) => [name, 100]));
  let isOver = false;
  const sampling = (async () => {
    while (!isOver) {
      for (const [name, { weight }] of await balancer.servers()) {
        least.set(name, Math.min(least.get(name) ?? 100, weight));
      }
      await sleep(SAMPLE_MS);
    }
  })();
  const start = performance.now();
  const outcomes = await playLoad(scene, 'load');
  const seconds = (performance.now() - start) / 1000;
  isOver = true;
  await sampling;
  compareAlone(scene, 'load', outcomes);
  const servers = await balancer.servers();
  for (const { name } of replicas) {
    const weight = least.get(name) ?? 100;
    if (weight >= 100) faults.push(`under load the weight of ${name} stays ${weight}`);
    if (!servers.get(name)?.numRequests) faults.push(`${name} got no request`);
    const isFree = async () => (await balancer.servers()).get(name)?.weight === 100 || undefined;
    await until(`the weight of ${name} is 100 again`, isFree);
  }
  const figures = replicas.map(
    ({ name }) =>
      `${name} ${servers.get(name)?.numRequests} requests, least weight ${least.get(name)}`,
  );
  options.say(`load: ${outcomes.length} answers in ${seconds.toFixed(1)} s; ${figures.join('; ')}`);
}

/** SIGTERM: nothing may be lost, and the replica ends by itself. */
async function withOneDrained(scene: Scene): Promise<void> {
  const { balancer, faults, options, replicas } = scene;
  const [, drained] = replicas;
  let code: number | null | undefined;
  const outcomes = await playLoad(scene, 'drain', async () => {
    code = await drained.stop('SIGTERM');
  });
  compareAlone(scene, 'drain', outcomes);
  if (code !== 0) faults.push(`the drained replica ended with ${code}`);
  const log = await balancer.requests('drain-', outcomes.length);
  const ofDrained = [...log.values()].filter(({ server }) => server === drained.name);
  options.say(
    `drain: ${outcomes.length} answers, ${ofDrained.length} of them by the replica that drained, exit code ${code}`,
  );
  await drained.start();
  await balancer.untilUp(drained.name);
}

/**
 * SIGKILL: what was on the replica gets a clean error or a broken stream; nothing else is lost. More than
 * it computed may have been there: the system takes connections for a process while that is dying.
 */
async function withOneKilled(scene: Scene): Promise<void> {
  const { balancer, prometheus, options, replicas } = scene;
  const [killed] = replicas;
  const outcomes = await playLoad(scene, 'kill', async () => {
    await killed.stop('SIGKILL');
  });
  const log = await balancer.requests('kill-', outcomes.length);
  const wasThere = (id: string) => log.get(id)?.server === killed.name;
  const numLost = compareAlone(scene, 'kill', outcomes, wasThere);
  const numBroken = outcomes.filter(({ kind }) => kind === 'broken').length;
  options.say(
    `kill: ${outcomes.length - numLost} answers; ${numLost} lost with the replica: ${numBroken} streams cut, ${numLost - numBroken} errors`,
  );
  await watchReplicaDown(prometheus, killed.port);
  await killed.start();
  await balancer.untilUp(killed.name);
}

/** Ways to say that requests belong together. */
const WAYS: Readonly<Record<string, (name: string) => Partial<WireRequest>>> = {
  none: () => ({}),
  'x-session-id': (name) => ({ headers: { 'x-session-id': name } }),
  prompt_cache_key: (name) => ({ body: { prompt_cache_key: name } }),
  cache_salt: (name) => ({ body: { cache_salt: name } }),
};

/** Requests that belong together must go to one replica, and so find more in its cache. */
async function withSessions(scene: Scene): Promise<void> {
  const { balancer, faults, options } = scene;
  const found = new Map<string, number>();
  for (const [way, mark] of Object.entries(WAYS)) {
    const names = Array.from({ length: options.numSessions }, (_, index) => `${way}-${index}`);
    let sum = 0;
    // one at a time: with nothing else to do, the balancer takes its replicas in turn
    for (const name of names) sum += await playSession(scene, name, mark(name));
    found.set(way, sum / names.length);
    if (way === 'none') continue;
    for (const name of names) {
      const log = await balancer.requests(`${name}-`, NUM_TURNS);
      const used = new Set([...log.values()].map(({ server }) => server));
      if (used.size !== 1) faults.push(`session ${name} went to ${[...used].join(' and ')}`);
    }
  }
  const without = found.get('none') ?? 0;
  for (const [way, share] of found) {
    if (way === 'none' || share > without) continue;
    faults.push(`${way} finds no more in the cache: ${share}`);
  }
  const figures = [...found].map(([way, share]) => `${way} ${(100 * share).toFixed(0)} %`);
  options.say(`prompt tokens found in the cache from the second turn on: ${figures.join(', ')}`);
}

/** Turns of a conversation, one after the other; gives the share of prompt tokens found in the cache. */
async function playSession(
  { balancer, answered, faults, options }: Scene,
  name: string,
  mark: Partial<WireRequest>,
): Promise<number> {
  const draw = new Draw(options.seed, ...new TextEncoder().encode(name));
  const prompt = Array.from({ length: BEGINNING_TOKENS }, () => draw.below(VOCAB_SIZE));
  let [numPrompt, numCached] = [0, 0];
  for (let turn = 0; turn < NUM_TURNS; turn += 1) {
    const body = { prompt, max_tokens: 1, ...mark.body };
    const request = { path: '/v1/completions' as const, ...mark, body };
    const id = `${name}-${turn}`;
    const outcome = await send(balancer.url, request, id);
    if (outcome.kind === 'answered') {
      answered.push(id);
      if (turn > 0) numPrompt += outcome.usage.prompt_tokens;
      if (turn > 0) numCached += outcome.usage.prompt_tokens_details.cached_tokens;
    } else faults.push(`request ${id}: ${JSON.stringify(outcome)}`);
    for (let count = 0; count < TURN_TOKENS; count += 1) prompt.push(draw.below(VOCAB_SIZE));
  }
  return numCached / numPrompt;
}

/** More requests of one session at a time than a replica takes: the other one helps. */
async function withACrowd(scene: Scene): Promise<void> {
  const { alone, answered, balancer, faults, options } = scene;
  const tasks = alone.map((expected, index) => async () => {
    const id = `crowd-${index}`;
    const request = loadRequest(options, index);
    const headers = { 'x-session-id': 'crowd' };
    const outcome = await send(balancer.url, { ...request, headers }, id);
    if (outcome.kind === 'answered') answered.push(id);
    const fault = compare(outcome, expected);
    if (fault !== undefined) faults.push(`request ${id}: ${fault}`);
  });
  await inParallel(tasks, NUM_AT_A_TIME);
  const log = await balancer.requests('crowd-', tasks.length);
  const counts = new Map<string, number>();
  for (const { server } of log.values()) counts.set(server, (counts.get(server) ?? 0) + 1);
  if (counts.size < 2) faults.push(`a crowd of one session stayed on ${[...counts.keys()].join()}`);
  const figures = [...counts].map(([server, count]) => `${server} ${count}`);
  options.say(`a crowd of one session: ${figures.join(', ')}`);
}

/** A client that goes takes its request with it, whether its answer is streamed or not. */
async function withClientsGone({ balancer, faults, options, replicas }: Scene): Promise<void> {
  const numGone = async () => {
    const texts = await Promise.all(
      replicas.map(async ({ url }) => (await fetch(`${url}/metrics`)).text()),
    );
    const counts = texts.map(
      (text) => /request_success_total\{.*"abort".*\} (\d+)/.exec(text)?.[1],
    );
    return counts.reduce((sum, count) => sum + Number(count), 0);
  };
  const before = await numGone();
  const gone = [true, false].map(async (stream) => {
    const body = {
      prompt: 'The ball is under cup 1. Where is the ball?',
      max_tokens: 1000,
      ignore_eos: true,
      stream,
    };
    const signal = AbortSignal.timeout(GONE_AFTER_MS);
    const request = { path: '/v1/completions' as const, body };
    const outcome = await send(balancer.url, request, `gone-${stream}`, signal);
    if (outcome.kind !== 'broken') faults.push(`it was too late to go: ${JSON.stringify(outcome)}`);
  });
  await Promise.all(gone);
  const haveEnded = async () => (await numGone()) >= before + gone.length || undefined;
  await until('replicas learn that their clients have gone', haveEnded);
  options.say(`clients that go: ${gone.length} of ${gone.length} requests end with them`);
}

/** What the balancer answers by itself, and what it hands on unread. */
async function withNobody({ balancer, faults, options, replicas }: Scene): Promise<void> {
  const expectRefusal = async (what: string, outcome: Promise<Outcome>, code: string) => {
    const { kind, ...rest } = await outcome;
    if (kind === 'refused' && 'code' in rest && rest.code === code) return;
    faults.push(`${what}: ${JSON.stringify({ kind, ...rest })} instead of ${code}`);
  };
  const path = '/v1/completions' as const;
  const long = {
    path,
    body: { prompt: 'The ball is under cup 1. Where is the ball? '.repeat(20_000) },
  };
  await expectRefusal('a long body', send(balancer.url, long, 'long'), 'context_length_exceeded');
  const metrics = await fetch(`${balancer.url}/metrics`);
  const { error } = (await metrics.json()) as { error?: { code: string } };
  if (error?.code !== 'not_balanced') faults.push('the balancer hands /metrics on');
  await Promise.all(replicas.map(async (replica) => replica.stop('SIGTERM')));
  const last = send(balancer.url, loadRequest(options, 0), 'nobody');
  await expectRefusal('without replicas', last, 'no_replica');
  options.say('without replicas: an error in shape');
}
