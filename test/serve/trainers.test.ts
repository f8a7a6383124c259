/** What trainers do with a server: roll out, hold it, give it weights, score; over a real socket. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { exitDistribution } from '../../src/engine/index.js';
import { loadCheckpoint, saveCheckpoint } from '../../src/model/index.js';
import type { TextFinishEvent, TextTokenEvent } from '../../src/loop-lm.js';
import type { TrainerSettings } from '../../src/serve/index.js';
import { createServeApp } from '../../src/serve/index.js';
import type { WireGenerate } from '../../src/serve/wire/trainers.js';
import { generateSchema } from '../../src/serve/wire/trainers.js';
import {
  packedSequenceLogprobsSchema,
  sequenceLogprobsSchema,
  trlGenerateSchema,
} from '../../src/serve/wire/trl.js';
import { bundledModelPath } from '../../src/platform/node/bundled-model.js';
import { normalSampler } from '../../src/util/normal.js';
import { temporaryFolder } from '../cli/support.js';
import { until } from './fake-model.js';
import type { Model, TestServer } from './server.js';
import { PROBLEM, loadModel, nodeFolder, openServer } from './server.js';
import { chunksOf } from './sse.js';

const root = temporaryFolder();
const KEY = { authorization: 'Bearer secret' };
const trainers: TrainerSettings = { openFolder: async (path) => nodeFolder(path) };

let model: Model;
let server: TestServer;
beforeAll(async () => {
  model = await loadModel({ updatable: true });
  server = await openServer(model, { apiKeys: ['secret'], trainers });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await model.dispose();
});

const post = <T = Record<string, unknown>>(path: string, body?: unknown) =>
  server.json<T>(path, body, { method: 'POST', headers: KEY });

/** A folder of the model's weights, each moved by about as much. */
async function weightsFolder(amount: number): Promise<string> {
  const { config, weights } = await loadCheckpoint(nodeFolder(bundledModelPath()));
  const next = normalSampler(1);
  const moved = new Map(
    [...weights].map(([name, data]) => [name, data.map((w) => w + amount * next())]),
  );
  const path = mkdtempSync(join(root, 'weights-'));
  await saveCheckpoint(nodeFolder(path), config, moved, { dtype: 'f32' });
  writeFileSync(join(path, 'STABLE'), '');
  return path;
}

const ids = () => model.encode(PROBLEM);
const sampled = { temperature: 1, max_tokens: 12, ignore_eos: true, seed: 5 };
const sampling = { temperature: 1, seed: 5 };
const options = { maxNewTokens: 12, ignoreEos: true, exitPolicy: 'sampled', sampling };

async function drawn(more: object = {}) {
  const tokens: TextTokenEvent[] = [];
  let finish: TextFinishEvent | undefined;
  for await (const event of model.generate(ids(), { ...options, record: true, ...more })) {
    if (event.kind === 'token') tokens.push(event);
    else finish = event;
  }
  return { tokens, finish: finish!, rollout: finish!.rollout! };
}

const depthsOf = ({ data }: WireGenerate['choices'][number]['exit_depths']) => [
  ...Uint8Array.from(atob(data), (character) => character.charCodeAt(0)),
];

describe('a rollout', () => {
  test('is what the model draws: tokens, depths, loops, gates and how likely each exit was', async () => {
    const { tokens, rollout } = await drawn();
    const answer = generateSchema.parse(
      await post('/inference/v1/generate', {
        request_id: 'r1',
        token_ids: ids(),
        sampling_params: { ...sampled, logprobs: 2, exit_policy: 'sampled' },
        loop_logprobs: true,
        rollout: true,
      }),
    );
    const [choice] = answer.choices;
    expect(answer).toMatchObject({ request_id: 'r1', prompt_logprobs: null, weights_version: 0 });
    expect(choice).toMatchObject({
      index: 0,
      token_ids: rollout.tokenIds,
      finish_reason: 'length',
    });
    expect(depthsOf(choice!.exit_depths)).toEqual(rollout.exitDepths);
    expect(choice!.exit_depths).toMatchObject({ shape: [12], start: 0, dtype: 'uint8' });
    const content = choice!.logprobs!.content;
    expect(content.map(({ token }) => token)).toEqual(
      rollout.tokenIds.map((id) => `token_id:${id}`),
    );
    expect(content.map(({ logprob }) => logprob)).toEqual(tokens.map(({ logprob }) => logprob));
    for (const { top_logprobs: top } of content) expect(top).toHaveLength(2);
    expect(choice!.loop_logprobs).toEqual(rollout.loopLogprobs);
    expect(choice!.gate_logits).toEqual(rollout.gateLogits);
    for (const [n, logprob] of choice!.exit_logprobs!.entries()) {
      // The gates of loops that were not run do not matter.
      const gates = Array.from({ length: 4 }, (_, loop) => rollout.gateLogits![n]![loop] ?? 3);
      const { exitPdf } = exitDistribution(gates);
      expect(logprob).toBeCloseTo(Math.log(exitPdf[rollout.exitDepths[n]! - 1]!), 10);
    }
    expect(choice!.rollout).toEqual(rollout);
  });

  test('is the same in a stream, and choices have seeds in a row', async () => {
    const body = {
      token_ids: ids(),
      sampling_params: { ...sampled, n: 3, logprobs: 1, prompt_logprobs: 2 },
      exit_policy: 'sampled',
    };
    const whole = generateSchema.parse(await post('/inference/v1/generate', body));
    for (const [index, choice] of whole.choices.entries()) {
      const { rollout } = await drawn({ sampling: { ...sampling, seed: 5 + index } });
      expect(choice.token_ids).toEqual(rollout.tokenIds);
    }
    const response = await server.ask(
      '/inference/v1/generate',
      { ...body, stream: true },
      { headers: KEY },
    );
    const chunks = (await chunksOf(response)).map((chunk) => generateSchema.parse(chunk));
    for (const [index, choice] of whole.choices.entries()) {
      const own = chunks.flatMap(({ choices }) => choices.filter((one) => one.index === index));
      expect(own.flatMap(({ token_ids: some }) => some)).toEqual(choice.token_ids);
      expect(own.flatMap(({ exit_depths: depths }) => depthsOf(depths))).toEqual(
        depthsOf(choice.exit_depths),
      );
      expect(own.flatMap(({ logprobs }) => logprobs!.content)).toEqual(choice.logprobs!.content);
      let numBefore = 0;
      for (const { exit_depths: depths } of own) {
        expect(depths.start).toBe(numBefore);
        numBefore += depths.shape[0]!;
      }
    }
    const prompts = chunks.flatMap(({ prompt_logprobs: one }) => (one ? [one] : []));
    expect(prompts).toEqual([whole.prompt_logprobs]);
    const { tokens } = await drawn({ promptLogprobs: 2 });
    const [none, ...scored] = whole.prompt_logprobs!;
    expect(none).toBeNull();
    for (const [index, entry] of scored.entries()) {
      const { tokenId, logprob } = tokens[0]!.promptTokens![index + 1]!;
      expect(entry![tokenId]!.logprob).toBe(logprob);
    }
  });

  test('has the log-probabilities that tokens are drawn with, where the server is set to', async () => {
    await using processed = await openServer(model, {
      apiKeys: ['secret'],
      trainers,
      logprobsMode: 'processed_logprobs',
    });
    const cool = { ...sampling, temperature: 0.6, topK: 4 };
    const { rollout } = await drawn({ sampling: cool });
    const params = { ...sampled, temperature: 0.6, top_k: 4, exit_policy: 'sampled', logprobs: 0 };
    const answer = await processed.json<WireGenerate>(
      '/inference/v1/generate',
      { token_ids: ids(), sampling_params: params },
      { headers: KEY },
    );
    const told = answer.choices[0]!.logprobs!.content.map(({ logprob }) => logprob);
    expect(told).toEqual(rollout.behaviorLogprobs);
    const info = await processed.json('/server_info', undefined, { headers: KEY });
    expect(info).toMatchObject({
      vllm_config: { model_config: { logprobs_mode: 'processed_logprobs' } },
    });
  });

  test('takes the hints of other servers, and no unknown setting', async () => {
    const hints = {
      flat_logprobs: true,
      detokenize: false,
      skip_special_tokens: false,
      extra_args: {},
    };
    const body = { token_ids: [1, 2], sampling_params: { ...sampled, ...hints }, priority: 3 };
    expect(await post('/inference/v1/generate', body)).toHaveProperty('choices');
    const unknown = { token_ids: [1], sampling_params: { beam_width: 2 } };
    expect(await post('/inference/v1/generate', unknown)).toMatchObject({
      error: { message: expect.stringMatching(/beam_width/) as string },
    });
  });
});

describe('a server that is held', () => {
  const long = { ...sampled, max_tokens: 150 };
  const ask = () =>
    post<WireGenerate>('/inference/v1/generate', { token_ids: ids(), sampling_params: long });
  /** Waits until some of an answer is computed. */
  const underWay = async () => {
    const { numExecuted } = model.stats;
    await until(() => model.stats.numExecuted > numExecuted + 40);
  };

  test('keeps what is under way, and goes on with it as if nothing had been', async () => {
    const expected = await ask();
    const running = ask();
    await underWay();
    expect(await post('/pause?mode=keep')).toEqual({ is_paused: true });
    const { numExecuted } = model.stats;
    expect((await server.ask('/ready')).status).toBe(503);
    const later = post<WireGenerate>('/inference/v1/generate', {
      token_ids: [1],
      sampling_params: sampled,
    });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(model.stats.numExecuted).toBe(numExecuted);
    expect(await post('/resume')).toEqual({ is_paused: false });
    expect((await running).choices).toEqual(expected.choices);
    expect((await later).choices[0]!.token_ids).toHaveLength(12);
    expect((await server.ask('/ready')).status).toBe(200);
  });

  test('ends what is under way with what it has, or waits for its end', async () => {
    const running = ask();
    await underWay();
    await post('/pause?mode=abort');
    const { choices } = await running;
    expect(choices[0]).toMatchObject({ finish_reason: 'abort' });
    expect(choices[0]!.token_ids.length).toBeLessThan(150);
    await post('/resume');
    const other = ask();
    await underWay();
    await post('/pause?mode=wait&clear_cache=false');
    expect(model.stats.numRunning).toBe(0);
    expect((await other).choices[0]!.token_ids).toHaveLength(150);
    await post('/resume');
    expect(await post('/pause?mode=stop')).toMatchObject({ error: { param: 'mode' } });
  });

  test('is left by a drain, which ends all the same', async () => {
    const held = await openServer(model, { apiKeys: ['secret'], trainers });
    await held.json('/pause?mode=keep', undefined, { method: 'POST', headers: KEY });
    const answer = held.json<WireGenerate>(
      '/inference/v1/generate',
      { token_ids: [1], sampling_params: sampled },
      { headers: KEY },
    );
    await until(() => model.stats.isPaused);
    await new Promise((resolve) => setTimeout(resolve, 50));
    await held[Symbol.asyncDispose]();
    expect((await answer).choices[0]!.token_ids).toHaveLength(12);
  });
});

describe('weights', () => {
  test('of a folder are those of the next token; what is under way goes on with them', async () => {
    const path = await weightsFolder(0.02);
    const running = post<WireGenerate>('/inference/v1/generate', {
      token_ids: ids(),
      sampling_params: { ...sampled, max_tokens: 150 },
      rollout: true,
    });
    await until(() => model.stats.numRunning > 0);
    expect(await post('/update_weights', { weight_dir: path })).toEqual({ weights_version: 1 });
    const record = (await running).choices[0]!.rollout as { weightsVersions?: number[] };
    expect(record.weightsVersions?.at(-1)).toBe(1);
    await using other = await loadModel();
    const before = await other.complete(ids(), { ...options });
    const { rollout } = await drawn();
    expect(rollout.weightsVersion).toBe(1);
    expect(rollout.logprobs).not.toEqual(
      (await other.complete(ids(), { ...options, record: true })).rollout!.logprobs,
    );
    expect(await post('/update_weights', { weight_dir: await weightsFolder(0) })).toEqual({
      weights_version: 2,
    });
    expect((await model.complete(ids(), options)).tokenIds).toEqual(before.tokenIds);
  });

  test('are refused from a folder that is not finished, not there, or of another model', async () => {
    const { weightsVersion } = model.stats;
    const unfinished = mkdtempSync(join(root, 'weights-'));
    const refused = async (weight_dir: string) => {
      const response = await server.ask('/update_weights', { weight_dir }, { headers: KEY });
      expect(response.status).toBe(400);
      return ((await response.json()) as { error: { message: string } }).error.message;
    };
    expect(await refused(unfinished)).toMatch(/has no file STABLE/);
    writeFileSync(join(unfinished, 'STABLE'), '');
    expect(await refused(unfinished)).toMatch(/config\.json/);
    expect(model.stats.weightsVersion).toBe(weightsVersion);
  });
});

describe("TRL's routes", () => {
  test('answer prompts with tokens and their log-probabilities, the drawn one among them', async () => {
    const answer = trlGenerateSchema.parse(
      await post('/generate/', {
        prompts: [PROBLEM, [1, 2, 3]],
        n: 2,
        temperature: 1,
        max_tokens: 5,
        logprobs: 2,
        top_k: -1,
        generation_kwargs: { ignore_eos: true, seed: 3 },
      }),
    );
    expect(answer.prompt_ids).toEqual([ids(), [1, 2, 3]]);
    expect(answer.completion_ids.map(({ length }) => length)).toEqual([5, 5, 5, 5]);
    for (const [at, tokens] of answer.completion_ids.entries()) {
      for (const [n, id] of tokens.entries()) {
        const told = answer.logprob_token_ids[at]![n]!;
        expect(told).toContain(id);
        const values = answer.logprobs[at]![n]!;
        expect(values).toEqual(values.toSorted((a, b) => b - a));
      }
    }
  });

  test('score sequences behind their prompts, at a temperature', async () => {
    const body = { sequences: [ids(), [1, 2, 3, 4]], prompt_lengths: [5, 1], top_logprobs: 3 };
    const answer = sequenceLogprobsSchema.parse(await post('/get_sequence_logprobs/', body));
    for (const [at, sequence] of body.sequences.entries()) {
      const first = await firstToken(sequence);
      const scored = first.promptTokens!.slice(body.prompt_lengths[at]);
      expect(answer.actual_token_ids[at]!.flat()).toEqual(sequence.slice(body.prompt_lengths[at]));
      expect(answer.actual_logprobs[at]!.flat()).toEqual(scored.map(({ logprob }) => logprob));
      expect(answer.logprob_token_ids[at]).toEqual(
        scored.map(({ topLogprobs }) => topLogprobs!.map(({ tokenId }) => tokenId)),
      );
    }
    const lengths = { ...body, prompt_lengths: [ids().length + 1, 1] };
    expect(await post('/get_sequence_logprobs/', lengths)).toMatchObject({
      error: { param: 'prompt_lengths.0' },
    });
  });

  test('score in arrays, too, which are padded to the longest', async () => {
    const body = {
      sequences: [ids(), [1, 2, 3, 4], [5, 6]],
      prompt_lengths: [5, 1, 2],
      top_logprobs: 3,
    };
    const lists = sequenceLogprobsSchema.parse(await post('/get_sequence_logprobs/', body));
    const arrays = packedSequenceLogprobsSchema.parse(
      await post('/get_sequence_logprobs/', { ...body, response_format: 'binary' }),
    );
    const [count, longest, width] = arrays.shape;
    expect([count, width]).toEqual([3, 3]);
    expect(arrays.completion_lengths).toEqual([ids().length - 5, 3, 0]);
    const bytes = (text: string) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
    const logprobs = new Float32Array(bytes(arrays.logprobs_b64));
    const actual = new Float32Array(bytes(arrays.actual_logprobs_b64));
    const actualIds = new Int32Array(bytes(arrays.actual_token_ids_b64));
    const tokenIds = new Int32Array(bytes(arrays.token_ids_b64));
    expect([logprobs.length, actual.length]).toEqual([count! * longest! * 3, count! * longest!]);
    for (const [at, length] of arrays.completion_lengths.entries()) {
      for (let n = 0; n < longest!; n++) {
        const place = at * longest! + n;
        const own = [...logprobs.subarray(3 * place, 3 * place + 3)];
        const isThere = n < length;
        const padding = [-Infinity, -Infinity, -Infinity];
        expect(own).toEqual(isThere ? lists.logprobs[at]![n]!.map(Math.fround) : padding);
        expect(actual[place]).toBe(
          isThere ? Math.fround(lists.actual_logprobs[at]![n]![0]!) : -Infinity,
        );
        expect(actualIds[place]).toBe(isThere ? lists.actual_token_ids[at]![n]![0] : 0);
        expect([...tokenIds.subarray(3 * place, 3 * place + 3)]).toEqual(
          isThere ? lists.logprob_token_ids[at]![n] : [0, 0, 0],
        );
      }
    }
  });

  test('take all that its clients send, and keep the end of a prompt that is to be cut', async () => {
    const filters = { top_k: 0, top_p: 1, min_p: 0, repetition_penalty: 1, generation_kwargs: {} };
    const more = { ...filters, n: 1, temperature: 0, max_tokens: 4, logprobs: 0 };
    const versions = [
      { images: null, structured_outputs_regex: null },
      { images: null, guided_decoding_regex: null, truncate_prompt_tokens: 4 },
    ];
    for (const version of versions) {
      const answer = trlGenerateSchema.parse(
        await post('/generate/', { prompts: [PROBLEM, ids()], ...more, ...version }),
      );
      const kept = 'truncate_prompt_tokens' in version ? ids().slice(-4) : ids();
      expect(answer.prompt_ids).toEqual([kept, kept]);
    }
    const refused = { prompts: [PROBLEM], structured_outputs_regex: 'a+' };
    expect(await post('/generate/', refused)).toMatchObject({
      error: { param: 'structured_outputs_regex' },
    });
  });

  test('forget prefixes at either address', async () => {
    for (const path of ['/reset_prefix_cache', '/reset_prefix_cache/']) {
      expect(await post(path)).toEqual({ status: 'ok' });
    }
  });

  test('answer conversations', async () => {
    const messages = [PROBLEM, 'Start with 4. Add 7. What is the result?'].map((content) => [
      { role: 'user', content },
    ]);
    const more = { n: 2, temperature: 1, generation_kwargs: { seed: 3 }, max_tokens: 5 };
    const none = { tools: null, chat_template_kwargs: {}, structured_outputs_regex: null };
    const chats = trlGenerateSchema.parse(await post('/chat/', { messages, ...more, ...none }));
    const prompts = [PROBLEM, 'Start with 4. Add 7. What is the result?'];
    // the template of this server is the last message as it stands
    expect(chats).toEqual(trlGenerateSchema.parse(await post('/generate/', { prompts, ...more })));
  });

  test('of newer versions ask for chat with tokens by their ids', async () => {
    const answer = await post<{ choices: { logprobs: { content: { token: string }[] } }[] }>(
      '/v1/chat/completions',
      {
        messages: [{ role: 'user', content: PROBLEM }],
        logprobs: true,
        top_logprobs: 1,
        return_token_ids: true,
        return_tokens_as_token_ids: true,
      },
    );
    const [choice] = answer.choices;
    const spelt = (choice as { token_ids?: number[] }).token_ids!.map((id) => `token_id:${id}`);
    expect(choice!.logprobs.content.map(({ token }) => token)).toEqual(spelt);
    expect(await server.json('/server_info', undefined, { headers: KEY })).toMatchObject({
      vllm_config: { weight_transfer_config: null },
    });
  });

  test('of newer versions are completions by token ids, with scores of prompts', async () => {
    const answer = await post<{ choices: Record<string, unknown>[] }>('/v1/completions', {
      prompt: [ids()],
      max_tokens: 1,
      temperature: 1,
      logprobs: 0,
      prompt_logprobs: 2,
      return_token_ids: true,
      return_tokens_as_token_ids: true,
    });
    const [choice] = answer.choices;
    const [id] = choice!['token_ids'] as number[];
    expect(choice).toMatchObject({
      prompt_token_ids: ids(),
      logprobs: { tokens: [`token_id:${id}`] },
    });
    const { promptTokens } = await firstToken(ids());
    const told = choice!['prompt_logprobs'] as (Record<
      string,
      { logprob: number; rank: number }
    > | null)[];
    expect(told[0]).toBeNull();
    for (const [index, { tokenId, logprob }] of promptTokens!.entries()) {
      if (index === 0) continue;
      expect(told[index]![tokenId]!.logprob).toBe(logprob);
      const ranks = Object.values(told[index]!).map(({ rank }) => rank);
      expect(ranks.toSorted((a, b) => a - b)).toEqual(ranks.map((_, n) => n + 1));
    }
    expect(await server.json('/get_world_size/', undefined, { headers: KEY })).toEqual({
      world_size: 1,
    });
  });
});

async function firstToken(sequence: readonly number[]): Promise<TextTokenEvent> {
  for await (const event of model.generate(sequence, { maxNewTokens: 1, promptLogprobs: 3 })) {
    if (event.kind === 'token') return event;
  }
  throw new Error('there is a first token');
}

describe('who is let in', () => {
  test('nobody, unless the server was started for trainers', async () => {
    await using closed = await openServer(model);
    for (const path of ['/inference/v1/generate', '/update_weights', '/generate/']) {
      const answer = await closed.json<{ error: { code: string; message: string } }>(path, {});
      expect(answer.error.code).toBe('not_enabled');
      expect(answer.error.message).toMatch(/--allow-weight-updates/);
    }
  });

  test('those with the key, and there must be one', async () => {
    expect((await server.ask('/pause', undefined, { method: 'POST' })).status).toBe(401);
    expect((await server.ask('/liveness')).status).toBe(200);
    expect(() => createServeApp(model, { modelName: 'm', trainers })).toThrow(
      /there is no key; give apiKeys/,
    );
  });
});
