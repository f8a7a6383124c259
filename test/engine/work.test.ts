/** Loops that are not needed are not run: how many (token, loop) pairs each policy computes. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GenerationRequest, PrefillMode } from '../../src/engine/index.js';
import { Engine, fixedDepth, fullDepth, replay } from '../../src/engine/index.js';
import type { Command, Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import { SMALL_MODEL, makeModel, promptArbitrary } from './random-model.js';
import type { RunOptions } from './runs.js';
import { requestOf, runAll } from './runs.js';

const RUNS = { numRuns: 15, seed: 8 };
const { numLoops } = SMALL_MODEL.config;

/** What a device was really asked to compute, read off its commands. */
class Spy {
  /** Rows that enter the first layer, over all loops: (token, loop) pairs. */
  numPairs = 0;
  /** How often each slot of the pages was written. */
  readonly writes = new Map<number, number>();

  watch(device: Device): Device {
    return new Proxy(device, {
      get: (target, key) => {
        if (key === 'submit') {
          return (commands: readonly Command[]) => {
            for (const command of commands) this.#note(command);
            return target.submit(commands);
          };
        }
        const value: unknown = Reflect.get(target, key);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }

  reset(): void {
    this.numPairs = 0;
    this.writes.clear();
  }

  #note(command: Command): void {
    if (command.kind !== 'attend' || command.layerIndex > 0) return;
    for (const slot of command.batch.slots) {
      this.numPairs++;
      this.writes.set(slot, (this.writes.get(slot) ?? 0) + 1);
    }
  }
}

const ALL_OPTIONS: readonly RunOptions[] = [
  { kvPolicy: 'per-loop' },
  { kvPolicy: 'per-loop', prefill: 'deferred' },
  { kvPolicy: 'last-exited' },
  { kvPolicy: 'shared' },
];

/** Sequences: a prompt, and the forced exit depth of each new token. */
const batch = fc.array(
  fc.record({
    promptIds: promptArbitrary(6),
    exitDepths: fc.array(fc.integer({ min: 1, max: numLoops }), { minLength: 1, maxLength: 9 }),
  }),
  { minLength: 1, maxLength: 3 },
);

const requestsOf = (
  sequences: readonly { promptIds: readonly number[]; exitDepths: readonly number[] }[],
): readonly GenerationRequest[] =>
  sequences.map(({ promptIds, exitDepths }) =>
    requestOf(promptIds, replay(exitDepths), { maxNewTokens: exitDepths.length }),
  );

const sum = (values: readonly number[]): number =>
  values.reduce((total, value) => total + value, 0);

/** For each entry, the largest from there on. */
const suffixMax = (values: readonly number[]): number[] =>
  values.map((_, index) => Math.max(...values.slice(index)));

describe('executed loops', () => {
  const spy = new Spy();
  let device: Device;
  let engine: Engine;
  beforeAll(async () => {
    device = await createInlineDevice({ numThreads: 1 });
    const { config, weights } = await makeModel(SMALL_MODEL);
    // Every loop that is asked for is counted.
    const options = { config, weights, maxPrefixBytes: 0 };
    engine = await Engine.create({ device: spy.watch(device), ...options });
  }, 60_000);
  afterAll(async () => {
    await engine.dispose();
    await device.dispose();
  });

  it.each(ALL_OPTIONS)(
    'are what the device computed and never exceed full depth: %o',
    async (options) => {
      await fc.assert(
        fc.asyncProperty(batch, async (sequences) => {
          spy.reset();
          const before = engine.numExecuted;
          const runs = await runAll(engine, requestsOf(sequences), options);
          runs.forEach(({ finish }, index) => {
            const { promptIds, exitDepths } = sequences[index]!;
            const numPositions = promptIds.length + exitDepths.length - 1;
            expect(finish.fullDepthLoops).toBe(numPositions * numLoops);
            expect(finish.executedLoops).toBeLessThanOrEqual(finish.fullDepthLoops);
          });
          const executed = sum(runs.map(({ finish }) => finish.executedLoops));
          expect(engine.numExecuted - before).toBe(executed);
          expect(spy.numPairs).toBe(executed);
        }),
        RUNS,
      );
    },
  );

  it.each(['last-exited', 'shared'] as const)(
    'of a new token are its exit depth under %s',
    async (kvPolicy) => {
      await fc.assert(
        fc.asyncProperty(batch, async (sequences) => {
          const runs = await runAll(engine, requestsOf(sequences), { kvPolicy });
          runs.forEach(({ finish }, index) => {
            const { promptIds, exitDepths } = sequences[index]!;
            // the first new token is read from the prompt, the last one is not fed
            const expected = promptIds.length * numLoops + sum(exitDepths.slice(1));
            expect(finish.executedLoops).toBe(expected);
          });
        }),
        RUNS,
      );
    },
  );

  it('of a token under per-loop are the deepest exit from it on, and each pair is run once', async () => {
    await fc.assert(
      fc.asyncProperty(
        batch,
        fc.constantFrom<PrefillMode[]>('full', 'deferred'),
        async (sequences, prefill) => {
          const runs = await runAll(engine, requestsOf(sequences), { prefill });
          for (const [index, { finish }] of runs.entries()) {
            const { promptIds, exitDepths } = sequences[index]!;
            const promptDepth = prefill === 'full' ? numLoops : Math.max(...exitDepths);
            const expected = promptIds.length * promptDepth + sum(suffixMax(exitDepths).slice(1));
            expect(finish.executedLoops).toBe(expected);
            // Alone: a sequence may get the pages of one that has ended.
            spy.reset();
            await runAll(engine, requestsOf([sequences[index]!]), { prefill });
            expect(Math.max(...spy.writes.values())).toBe(1);
          }
        },
      ),
      RUNS,
    );
  });

  it('are one for each token at depth 1 with a deferred prefill', async () => {
    const request = requestOf([1, 2, 3, 4, 5], fixedDepth(1), { maxNewTokens: 8 });
    const [run] = await runAll(engine, [request], { prefill: 'deferred' });
    expect(run!.finish.executedLoops).toBe(5 + 7);
  });

  it('are all of them at full depth', async () => {
    for (const options of ALL_OPTIONS) {
      const [run] = await runAll(engine, [requestOf([1, 2, 3], fullDepth())], options);
      expect(run!.finish.executedLoops).toBe(run!.finish.fullDepthLoops);
    }
  });
});
