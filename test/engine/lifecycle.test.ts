/** How runs end: aborts, early leaving, limits, errors; and that nothing stays behind. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CheckpointError, ConfigError, DisposedError } from '../../src/errors.js';
import type { ExitPolicy } from '../../src/engine/index.js';
import {
  Engine,
  KV_POLICIES,
  cdfThreshold,
  fixedDepth,
  fullDepth,
  replay,
} from '../../src/engine/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import type { RandomModel } from './random-model.js';
import { SMALL_MODEL, makeModel } from './random-model.js';
import type { RunOptions } from './runs.js';
import { requestOf, runAll } from './runs.js';

const { numLoops, maxPositionEmbeddings } = SMALL_MODEL.config;
const ALL_OPTIONS: readonly RunOptions[] = [
  ...KV_POLICIES.map((kvPolicy) => ({ kvPolicy })),
  { prefill: 'deferred' },
];

let device: Device;
let model: RandomModel;
let engine: Engine;
let before: Awaited<ReturnType<Device['stats']>>;
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
  model = await makeModel(SMALL_MODEL);
  engine = await Engine.create({ device, config: model.config, weights: model.weights });
  // The pages that an engine has once needed stay with it for the next run: need many of them now.
  const many = Array.from({ length: 8 }, () => requestOf([1, 2, 3], fullDepth()));
  await runAll(engine, many);
});
beforeEach(async () => {
  before = await device.stats();
});
afterAll(async () => {
  await engine.dispose();
  await device.dispose();
});

/** Full depth, with a look at every loop. */
function watched(look: (tokenIndex: number, depth: number) => void): ExitPolicy {
  return {
    ...fullDepth(),
    start:
      ({ tokenIndex }) =>
      ({ depth }) => {
        look(tokenIndex, depth);
        return false;
      },
  };
}

describe('an abort', () => {
  it.each(ALL_OPTIONS)('acts by the next loop boundary: %o', async (options) => {
    for (const at of [
      { tokenIndex: 0, depth: 1 },
      { tokenIndex: 0, depth: numLoops },
      { tokenIndex: 2, depth: 2 },
      { tokenIndex: 3, depth: numLoops },
    ]) {
      const controller = new AbortController();
      let executedAtAbort = 0;
      const start = engine.numExecuted;
      const aborting = watched((tokenIndex, depth) => {
        if (tokenIndex !== at.tokenIndex || depth !== at.depth) return;
        controller.abort();
        executedAtAbort = engine.numExecuted;
      });
      const requests = [requestOf([1, 2, 3], fullDepth()), requestOf([4, 5], aborting)];
      const runs = await runAll(engine, requests, {
        ...options,
        record: true,
        signal: controller.signal,
      });
      expect(engine.numExecuted).toBe(executedAtAbort);
      expect(runs.map(({ finish }) => finish.finishReason)).toEqual(['aborted', 'aborted']);
      expect(runs.map(({ tokens }) => tokens.length)).toEqual([at.tokenIndex, at.tokenIndex]);
      const executed = runs.reduce((sum, { finish }) => sum + finish.executedLoops, 0);
      expect(engine.numExecuted - start).toBe(executed);
      expect(runs[0]!.finish.rollout!.tokenIds).toHaveLength(at.tokenIndex);
    }
    expect(await device.stats()).toEqual(before);
  });

  it('before the start computes nothing and still finishes every sequence', async () => {
    const start = engine.numExecuted;
    const requests = [requestOf([1], fullDepth()), requestOf([2], fullDepth())];
    const runs = await runAll(engine, requests, { signal: AbortSignal.abort() });
    expect(runs.map(({ finish }) => finish.finishReason)).toEqual(['aborted', 'aborted']);
    expect(engine.numExecuted).toBe(start);
  });

  it('between two events lets the step under way end, and finished sequences stay finished', async () => {
    const controller = new AbortController();
    const requests = [
      requestOf([1, 2], fullDepth(), { maxNewTokens: 1 }),
      requestOf([3], fullDepth(), { maxNewTokens: 9 }),
    ];
    const signalled = requests.map((request) => ({ ...request, signal: controller.signal }));
    const reasons: string[] = [];
    let executedAtAbort = 0;
    for await (const event of engine.generate(signalled)) {
      if (event.kind === 'finish') reasons[event.requestIndex] = event.finishReason;
      else if (event.tokenIndex === 2) {
        controller.abort();
        executedAtAbort = engine.numExecuted;
      }
    }
    expect(reasons).toEqual(['max-new-tokens', 'aborted']);
    expect(engine.numExecuted).toBeLessThanOrEqual(executedAtAbort + 1);
  });
});

describe('memory', () => {
  it.each(ALL_OPTIONS)('is given back when the consumer leaves early: %o', async (options) => {
    for (const leaveAfter of [1, 3]) {
      let numEvents = 0;
      for await (const event of engine.generate([requestOf([1, 2], cdfThreshold(0.5), options)])) {
        expect(event.kind).toBe('token');
        if (++numEvents === leaveAfter) break;
      }
      expect(await device.stats()).toEqual(before);
    }
  });

  it('is given back when a policy fails in the middle', async () => {
    const failing = watched((tokenIndex) => {
      if (tokenIndex === 1) throw new Error('no more');
    });
    await expect(runAll(engine, [requestOf([1], failing)])).rejects.toThrow('no more');
    await expect(runAll(engine, [requestOf([1], replay([2, 2]))])).rejects.toThrow(ConfigError);
    expect(await device.stats()).toEqual(before);
  });

  it('stays flat over 20 runs and traces', async () => {
    for (let run = 0; run < 20; run++) {
      const options = ALL_OPTIONS[run % ALL_OPTIONS.length]!;
      await runAll(engine, [requestOf([1, 2, 3], fixedDepth(2), { maxNewTokens: 2 })], options);
      if (run % 5 === 0) await engine.trace([1, 2, 3]);
      expect(await device.stats()).toEqual(before);
    }
  });

  it('of the programs is given back by dispose, however often it is called', async () => {
    const { config, weights } = model;
    const other = await Engine.create({ device, config, weights });
    await other.dispose();
    await other.dispose();
    await other[Symbol.asyncDispose]();
    expect(await device.stats()).toEqual(before);
  });
});

describe('an engine that is given up while it is compiled', () => {
  it('leaves nothing behind', async () => {
    const { config, weights } = model;
    let numPrograms = 0;
    const count = () => void numPrograms++;
    await (await Engine.create({ device, config, weights, onProgress: count })).dispose();
    for (let at = 1; at <= numPrograms; at++) {
      const controller = new AbortController();
      const reason = new Error(`given up after ${at}`);
      let numDone = 0;
      const onProgress = () => ++numDone === at && controller.abort(reason);
      const { signal } = controller;
      await expect(Engine.create({ device, config, weights, onProgress, signal })).rejects.toBe(
        reason,
      );
      expect(numDone).toBe(at);
      expect(await device.stats()).toEqual(before);
    }
  });

  it('because a program or the store fails leaves nothing behind', async () => {
    const { config, weights } = model;
    const reason = new Error('refused');
    for (const method of ['compile', 'createKvStore'] as const) {
      let numCalls = 0;
      const failing = new Proxy(device, {
        get(target, name) {
          if (name === method && ++numCalls === (method === 'compile' ? 3 : 1)) {
            return () => Promise.reject(reason);
          }
          const value = Reflect.get(target, name) as unknown;
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
      await expect(Engine.create({ device: failing, config, weights })).rejects.toBe(reason);
      expect(await device.stats()).toEqual(before);
    }
  });
});

describe('a disposed engine', () => {
  it('refuses to generate and to trace', async () => {
    const { config, weights } = model;
    const other = await Engine.create({ device, config, weights });
    await other.dispose();
    await expect(runAll(other, [requestOf([1], fullDepth())])).rejects.toThrow(DisposedError);
    await expect(other.trace([1])).rejects.toThrow(DisposedError);
  });

  it('ends a run that is under way with DisposedError, and its memory is given back', async () => {
    const { config, weights } = model;
    const other = await Engine.create({ device, config, weights });
    const consume = async () => {
      for await (const event of other.generate([requestOf([1], fullDepth())])) {
        if (event.kind === 'token' && event.tokenIndex === 1) await other.dispose();
      }
    };
    await expect(consume()).rejects.toThrow(DisposedError);
    expect(await device.stats()).toEqual(before);
  });
});

describe('a sequence', () => {
  it('ends with the context, after the token that would not fit', async () => {
    const promptIds = Array.from({ length: maxPositionEmbeddings - 3 }, (_, n) => n % 7);
    for (const options of ALL_OPTIONS) {
      const request = requestOf(promptIds, fixedDepth(1), { maxNewTokens: 10 });
      const [run] = await runAll(engine, [request], options);
      expect(run!.finish.finishReason).toBe('context-limit');
      expect(run!.tokens).toHaveLength(4);
    }
    const full = Array.from({ length: maxPositionEmbeddings }, (_, n) => n % 7);
    const [last] = await runAll(engine, [requestOf(full, fixedDepth(1))]);
    expect(last!.tokens).toHaveLength(1);
  });

  it('ends with a stop id, which is part of it', async () => {
    const free = await runAll(engine, [requestOf([1, 2], fullDepth(), { maxNewTokens: 8 })]);
    const ids = free[0]!.tokens.map(({ tokenId }) => tokenId);
    const stopId = ids[3]!;
    const length = ids.indexOf(stopId) + 1;
    const request = requestOf([1, 2], fullDepth(), { maxNewTokens: 8, stopIds: [stopId] });
    const [run] = await runAll(engine, [request]);
    expect(run!.finish.finishReason).toBe('stop-id');
    expect(run!.tokens.map(({ tokenId }) => tokenId)).toEqual(ids.slice(0, length));
  });

  it('takes forced ids, says what it would have chosen, and goes on by itself after them', async () => {
    const request = requestOf([1, 2], fullDepth());
    const forcedIds = [4, 4, 9];
    const [forced] = await runAll(engine, [{ ...request, forcedIds }]);
    expect(forced!.tokens.slice(0, 3).map(({ tokenId }) => tokenId)).toEqual(forcedIds);
    const continued = { ...request, promptIds: [1, 2, 4, 4, 9], maxNewTokens: 3 };
    const [free] = await runAll(engine, [continued]);
    const chosen = (run: typeof free) => run!.tokens.map(({ tokenId }) => tokenId);
    expect(chosen(forced).slice(3)).toEqual(chosen(free));
    const [unforced] = await runAll(engine, [request]);
    expect(forced!.tokens[0]!.sampledId).toBe(unforced!.tokens[0]!.tokenId);
  });

  it('with weights that overflow is an error that names the damage', async () => {
    const weights = new Map(model.weights);
    weights.set('model.early_exit_gate.weight', new Float32Array(12).fill(NaN));
    const { config } = model;
    const broken = await Engine.create({ device, config, weights });
    await expect(runAll(broken, [requestOf([1], fullDepth())])).rejects.toThrow(CheckpointError);
    await broken.dispose();
    expect(await device.stats()).toEqual(before);
  });
});
