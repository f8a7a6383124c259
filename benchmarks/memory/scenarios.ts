/**
 * What the measured processes do. Each scenario runs in a process of its own (child.ts) and samples
 * that process's memory on its way.
 */
import { LoopLM } from 'looplm';
import { generatorFor } from 'looplm/data';
import type { MemoryPlan } from 'looplm/model';
import { describePlan, planMemory } from 'looplm/model';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { readResident } from '../lib/resident.js';
import type { GrownSequence, Sample } from './samples.js';

export const THREADS = 2;
export const SEED = 1;
export const PROMPT_TOKENS = 512;
export const NEW_TOKENS = 2000;
const SAMPLE_EVERY = 100;
const SHORT_PROMPT_TOKENS = 16;
const CYCLE_TOKENS = 8;

/** Of every new token one loop is run; full depth only where a prompt is. */
const GREEDY = { ignoreEos: true, sampling: { temperature: 0 } } as const;
const SHALLOW = { ...GREEDY, kvPolicy: 'last-exited', exitPolicy: 'fixed:1' } as const;

function randomIds(count: number, { config }: LoopLM): readonly number[] {
  const rng = generatorFor(SEED);
  return Array.from({ length: count }, () => uniformInt(rng, 0, config.vocabSize - 1));
}

async function loadPlanned(path: string, context: number) {
  let plan: MemoryPlan | undefined;
  const model = await LoopLM.fromPretrained(path, {
    context,
    kvPolicy: SHALLOW.kvPolicy,
    numThreads: THREADS,
    onPlan: (made) => {
      plan = made;
    },
  });
  return { model, plan: plan! };
}

/** A long prompt and a long continuation, against the plan. */
async function growSequence(path: string): Promise<GrownSequence> {
  const { model, plan } = await loadPlanned(path, PROMPT_TOKENS + NEW_TOKENS);
  const loaded = {
    planned: plan.weightBytes + plan.processBytes,
    resident: await readResident(),
  };
  const samples: GrownSequence['samples'] = [];
  const options = { ...SHALLOW, maxNewTokens: NEW_TOKENS };
  for await (const event of model.generate(randomIds(PROMPT_TOKENS, model), options)) {
    const count = event.kind === 'token' ? event.tokenIndex : NEW_TOKENS;
    if (count % SAMPLE_EVERY !== 0) continue;
    const positions = PROMPT_TOKENS + count;
    const now = planMemory(model.config, { ...plan, context: positions });
    samples.push({
      count,
      positions,
      planned: now.totalBytes,
      plannedKv: now.kvBytes,
      resident: await readResident(),
    });
  }
  await model.dispose();
  return { plan: [...describePlan(plan)], loaded, samples };
}

/** As many tokens in short sequences one after the other, which need no more memory than the first. */
async function repeatSequences(path: string): Promise<readonly Sample[]> {
  const { model } = await loadPlanned(path, SHORT_PROMPT_TOKENS + SAMPLE_EVERY);
  const promptIds = randomIds(SHORT_PROMPT_TOKENS, model);
  const samples: Sample[] = [];
  for (let count = SAMPLE_EVERY; count <= NEW_TOKENS; count += SAMPLE_EVERY) {
    await model.complete(promptIds, { ...SHALLOW, maxNewTokens: SAMPLE_EVERY });
    samples.push({ count, resident: await readResident() });
  }
  await model.dispose();
  return samples;
}

/** Loads, uses and disposes a model again and again; samples what is kept while none is loaded. */
async function cycle(path: string, cycles: number): Promise<readonly Sample[]> {
  const samples: Sample[] = [];
  for (let count = 1; count <= cycles; count++) {
    const model = await LoopLM.fromPretrained(path, { numThreads: THREADS });
    await model.complete(randomIds(SHORT_PROMPT_TOKENS, model), {
      ...GREEDY,
      maxNewTokens: CYCLE_TOKENS,
    });
    await model.dispose();
    gc!(); // by --expose-gc
    samples.push({ count, resident: await readResident() });
  }
  return samples;
}

/** A scenario with its model folder. */
export type Scenario =
  | { readonly kind: 'grow' | 'repeat'; readonly path: string }
  | { readonly kind: 'cycle'; readonly path: string; readonly cycles: number };

export function runScenario(scenario: Scenario): Promise<unknown> {
  switch (scenario.kind) {
    case 'grow':
      return growSequence(scenario.path);
    case 'repeat':
      return repeatSequences(scenario.path);
    case 'cycle':
      return cycle(scenario.path, scenario.cycles);
    default:
      return scenario satisfies never;
  }
}
