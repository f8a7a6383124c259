/** Bad requests against one server with the bundled model, with good ones in between. */
import type { TestServer } from '../serve/server.js';
import { PROBLEM, loadModel, openServer } from '../serve/server.js';
import type { HttpVerdict } from './http-verdict.js';
import { httpVerdict } from './http-verdict.js';

/** Attacks under way at a time. */
const NUM_AT_ONCE = 8;
/** After so many, one that nothing is wrong with must be answered as ever. */
const CONTROL_EVERY = 50;
const CONTROL = { prompt: PROBLEM, seed: 1, temperature: 0.7, max_tokens: 8, logprobs: 2 };

export interface HttpAttackOptions {
  readonly seed: number;
  readonly indices: readonly number[];
  readonly onVerdict?: (verdict: HttpVerdict) => void;
}

export interface HttpAttackReport {
  readonly verdicts: readonly HttpVerdict[];
  /** What is wrong with the whole. */
  readonly faults: readonly string[];
}

export async function playHttpAttacks(options: HttpAttackOptions): Promise<HttpAttackReport> {
  const { seed, indices, onVerdict } = options;
  await using model = await loadModel();
  const limits = { maxRequestSequences: 16, maxBodyBytes: 2 ** 20, requestTimeoutMs: 20_000 };
  const times = { headersTimeoutMs: 1000, requestTimeoutMs: 1500 };
  await using server = await openServer(model, limits, times);
  const expected = await controlAnswer(server);
  const verdicts: HttpVerdict[] = [];
  const faults: string[] = [];
  const queue = [...indices];
  const work = async () => {
    for (let index = queue.shift(); index !== undefined; index = queue.shift()) {
      const verdict = await httpVerdict(server.port, seed, index);
      verdicts.push(verdict);
      onVerdict?.(verdict);
      if (verdicts.length % CONTROL_EVERY > 0) continue;
      const answer = await controlAnswer(server);
      if (answer !== expected) faults.push(`after #${index} a good request got ${answer}`);
    }
  };
  await Promise.all(Array.from({ length: NUM_AT_ONCE }, work));
  const { numRunning, numWaiting } = model.stats;
  if (numRunning + numWaiting > 0) faults.push(`${numRunning + numWaiting} requests are left`);
  model.clearPrefixes();
  const { numPagesUsed } = model.stats;
  if (numPagesUsed > 0) faults.push(`${numPagesUsed} pages did not come back`);
  const internal = server.log.filter(({ message }) => message === 'fault');
  for (const { fields } of internal) faults.push(`a fault inside: ${JSON.stringify(fields)}`);
  return { verdicts, faults };
}

async function controlAnswer(server: TestServer): Promise<string> {
  const { choices } = await server.json<{ choices: unknown }>('/v1/completions', CONTROL);
  return JSON.stringify(choices);
}
