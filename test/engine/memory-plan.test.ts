/** What the memory plan counts for keys and values is what requests need, by KV policy. */
import { expect, it } from 'vitest';
import { Engine, KV_POLICIES, fixedDepth } from '../../src/engine/index.js';
import { planMemory } from '../../src/model/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import { SMALL_MODEL, makeModel } from './random-model.js';
import type { SequenceRun } from './runs.js';
import { requestOf, runAll } from './runs.js';

const CONTEXT = 256; // whole pages
const LONG_MODEL = {
  ...SMALL_MODEL,
  config: { ...SMALL_MODEL.config, maxPositionEmbeddings: CONTEXT },
};
const promptOf = (length: number) => Array.from({ length }, (_, position) => position % 11);

it.each(KV_POLICIES)(
  'a sequence of the planned context runs in the planned memory under %s',
  async (kvPolicy) => {
    await using device = await createInlineDevice({ numThreads: 1 });
    const { config, weights } = await makeModel(LONG_MODEL);
    const needs = { kvPolicy, kvDtype: 'f32', context: CONTEXT } as const;
    const { kvBytes } = planMemory(config, { ...needs, numSequences: 1 });
    const request = requestOf(promptOf(CONTEXT - 4), fixedDepth(1), { maxNewTokens: 4 });
    const options = { kvPolicy, prefill: 'full' } as const;

    const engine = await Engine.create({ device, config, weights, maxKvBytes: kvBytes });
    const [run] = await runAll(engine, [request], options);
    expect(run!.tokens).toHaveLength(4);
    expect(engine.numPreemptions).toBe(0);
    await engine.dispose();

    const less = await Engine.create({ device, config, weights, maxKvBytes: kvBytes - 1 });
    await expect(runAll(less, [request], options)).rejects.toThrow(/cache .* is full/);
    await less.dispose();
  },
);

it('two sequences under shared run in the planned memory, their prompts one after the other', async () => {
  await using device = await createInlineDevice({ numThreads: 1 });
  const { config, weights } = await makeModel(LONG_MODEL);
  const needs = { kvPolicy: 'shared', kvDtype: 'f32', context: CONTEXT } as const;
  const { kvBytes, kvBytesPerPosition } = planMemory(config, { ...needs, numSequences: 2 });
  expect(kvBytes).toBe(CONTEXT * kvBytesPerPosition.shared * (config.numLoops + 1));
  const request = requestOf(promptOf(CONTEXT - 4), fixedDepth(1), { maxNewTokens: 4 });
  const engine = await Engine.create({ device, config, weights, maxKvBytes: kvBytes });
  const runs = await runAll(engine, [request, request], { kvPolicy: 'shared' });
  const alone = await runAll(engine, [request], { kvPolicy: 'shared' });
  const idsOf = ({ tokens }: SequenceRun) => tokens.map(({ tokenId }) => tokenId);
  expect(runs.map(idsOf)).toEqual([idsOf(alone[0]!), idsOf(alone[0]!)]);
  await engine.dispose();
});
