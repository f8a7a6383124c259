/** Whether requests that ran in company gave what they give alone, to the bit. */
import { isDeepStrictEqual } from 'node:util';
import type { Engine, FinishEvent, TokenEvent } from '../../src/engine/index.js';
import { Draw } from '../draw.js';
import type { Outcome } from './play.js';
import { drawRequest } from './requests.js';

/** Words that keep the sample apart from other draws. */
const OF_SAMPLES = 4;

/** Some of the outcomes, by chance. */
export function sampleOf(
  outcomes: readonly Outcome[],
  count: number,
  seed: number,
): readonly Outcome[] {
  const rest = [...outcomes];
  const draw = new Draw(seed, OF_SAMPLES);
  const picked: Outcome[] = [];
  while (picked.length < count && rest.length > 0) {
    picked.push(rest.splice(draw.below(rest.length), 1)[0]!);
  }
  return picked;
}

/**
 * Runs the request of an outcome alone, without guesses, and notes as faults what differs: ids, depths
 * and log-probabilities to the bit, how it ended, what was recorded. One that was given up must have
 * given the beginning of it.
 */
export async function compareAlone(engine: Engine, seed: number, outcome: Outcome): Promise<void> {
  const { request } = drawRequest(seed, outcome.index, engine.config);
  const tokens: TokenEvent[] = [];
  let finish: FinishEvent | undefined;
  let failed = false;
  try {
    for await (const event of engine.generate([{ ...request, speculation: 'off' }])) {
      if (event.kind === 'token') tokens.push(event);
      else finish = event;
    }
  } catch {
    failed = true;
  }
  const isWhole = outcome.end === 'finished' || outcome.end === 'failed';
  const expected = isWhole ? tokens : tokens.slice(0, outcome.tokens.length);
  if (!isDeepStrictEqual(outcome.tokens.map(withoutPlace), expected.map(withoutPlace))) {
    const at = expected.findIndex(
      (token, index) =>
        !outcome.tokens[index] ||
        !isDeepStrictEqual(withoutPlace(token), withoutPlace(outcome.tokens[index])),
    );
    outcome.faults.push(
      `alone it gives other tokens, from ${at} on: ${JSON.stringify(expected[at])}, and in company ${JSON.stringify(outcome.tokens[at])}`,
    );
  }
  if (outcome.end === 'failed' && !failed) outcome.faults.push('alone it does not fail');
  if (outcome.end !== 'finished') return;
  if (finish?.finishReason !== outcome.finish?.finishReason) {
    outcome.faults.push(
      `alone it ends with ${finish?.finishReason}, in company with ${outcome.finish?.finishReason}`,
    );
  }
  if (!isDeepStrictEqual(finish?.rollout, outcome.finish?.rollout)) {
    outcome.faults.push('alone its record is another');
  }
}

const withoutPlace = (token: TokenEvent) => ({ ...token, requestIndex: 0 });
