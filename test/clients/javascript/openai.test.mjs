/** The official `openai` package against `looplm serve`, checked against the library. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import OpenAI from 'openai';
import { LONGER, MODEL, PROBLEM, openLibrary, startServer, until } from './support.mjs';

const KEY = 'secret';
const messages = [{ role: 'user', content: PROBLEM }];
/** Long enough to be left in its midst. */
const LONG = { max_tokens: 900, ignore_eos: true, exit_policy: 'full' };

let server;
let library;
let client;

before(async () => {
  server = await startServer(['--api-key', KEY]);
  library = await openLibrary();
  client = clientOf(server, { apiKey: KEY });
});
after(async () => {
  await server?.[Symbol.asyncDispose]();
  await library?.[Symbol.asyncDispose]();
});

const clientOf = ({ url }, options = {}) =>
  new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0, ...options });

async function all(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

const depthsOf = ({ tokens }) => tokens.map(({ exitDepth }) => exitDepth);
const logprobsOf = ({ tokens }) => tokens.map(({ logprob }) => logprob);

test('models are listed with how much they take', async () => {
  const [model] = (await client.models.list()).data;
  assert.equal(model.id, MODEL);
  assert.equal(model.max_model_len, 1024);
  assert.equal((await client.models.retrieve(MODEL)).id, MODEL);
});

describe('chat', () => {
  const body = {
    model: MODEL,
    messages: [{ role: 'user', content: LONGER }],
    max_tokens: 12,
    ignore_eos: true,
    exit_policy: 'cdf:0.5',
    logprobs: true,
    top_logprobs: 3,
  };
  const options = {
    maxNewTokens: 12,
    ignoreEos: true,
    exitPolicy: 'cdf:0.5',
    topLogprobs: 3,
  };

  test('answers as the library does, each token with its depth', async () => {
    const expected = await library.answer(LONGER, options);
    const answer = await client.chat.completions.create(body);
    const [{ message, logprobs, finish_reason: reason }] = answer.choices;
    assert.equal(message.content, expected.answer);
    assert.equal(reason, 'length');
    const content = logprobs.content;
    assert.deepEqual(
      content.map((token) => token.exit_depth),
      depthsOf(expected),
    );
    assert.deepEqual(
      content.map(({ logprob }) => logprob),
      logprobsOf(expected),
    );
    assert.deepEqual(
      content.map((token) => token.top_logprobs.map((top) => [top.token_id, top.logprob])),
      expected.tokens.map((token) => token.topLogprobs.map((top) => [top.tokenId, top.logprob])),
    );
    const { usage } = answer;
    assert.equal(usage.completion_tokens, 12);
    assert.equal(usage.prompt_tokens, library.encode(LONGER).length);
    assert.equal(usage.mean_depth, expected.meanDepth);
    const numLoops = usage.loops_run + usage.loops_saved;
    assert.equal(numLoops, expected.fullDepthLoops);
    assert.ok(usage.loops_saved > 0);
  });

  test('a stream says the same, and ends with the usage', async () => {
    const expected = await library.answer(LONGER, options);
    const chunks = await all(
      await client.chat.completions.create({
        ...body,
        stream: true,
        stream_options: { include_usage: true },
      }),
    );
    const choices = chunks.flatMap((chunk) => chunk.choices);
    assert.equal(choices.map(({ delta }) => delta.content ?? '').join(''), expected.answer);
    const tokens = choices.flatMap(({ logprobs }) => logprobs?.content ?? []);
    assert.deepEqual(
      tokens.map((token) => token.exit_depth),
      depthsOf(expected),
    );
    assert.deepEqual(
      tokens.map(({ logprob }) => logprob),
      logprobsOf(expected),
    );
    assert.equal(choices.at(-1).finish_reason, 'length');
    assert.equal(chunks.at(-1).usage.mean_depth, expected.meanDepth);
    assert.ok(chunks.slice(0, -1).every(({ usage }) => usage === null));
  });

  test("the client's own accumulator takes a stream", async () => {
    const expected = await library.answer(PROBLEM);
    let told = '';
    const stream = client.chat.completions
      .stream({ model: MODEL, messages, n: 2, seed: 3 })
      .on('content', (delta) => (told += delta));
    const answer = await stream.finalChatCompletion();
    assert.deepEqual(
      answer.choices.map(({ message }) => message.content),
      [expected.answer, expected.answer],
    );
    assert.ok(told.startsWith(expected.answer));
    assert.ok(answer.choices.every((choice) => choice.finish_reason === 'stop'));
  });

  test('draws are those of the library, by seed', async () => {
    const sampling = { temperature: 1, topP: 0.9 };
    const drawn = await client.chat.completions.create({
      model: MODEL,
      messages,
      n: 3,
      seed: 7,
      temperature: 1,
      top_p: 0.9,
      max_completion_tokens: 8,
      ignore_eos: true,
    });
    for (const [index, { message }] of drawn.choices.entries()) {
      const expected = await library.answer(PROBLEM, {
        maxNewTokens: 8,
        ignoreEos: true,
        sampling: { ...sampling, seed: 7 + index },
      });
      assert.equal(message.content, expected.answer);
    }
  });

  test('what a loop would have said, on request', async () => {
    const answer = await client.chat.completions.create({
      ...body,
      exit_policy: 'full',
      loop_logprobs: 2,
      rollout: true,
    });
    const [choice] = answer.choices;
    for (const { loops, logprob } of choice.logprobs.content) {
      assert.equal(loops.length, 4);
      assert.equal(loops.at(-1).logprob, logprob);
      assert.equal(loops[0].top_logprobs.length, 2);
    }
    assert.deepEqual(
      choice.rollout.tokenIds,
      choice.logprobs.content.map((token) => token.token_id),
    );
  });
});

describe('completions', () => {
  test('several prompts, as text and as ids, with their own log-probabilities', async () => {
    const prompts = [PROBLEM, LONGER];
    const common = { model: MODEL, max_tokens: 4, logprobs: 2, echo: true };
    const ofText = await client.completions.create({ ...common, prompt: prompts });
    const ofIds = await client.completions.create({
      ...common,
      prompt: prompts.map((prompt) => [...library.encode(prompt)]),
    });
    assert.deepEqual(ofIds.choices, ofText.choices);
    for (const [index, prompt] of prompts.entries()) {
      const options = { maxNewTokens: 4, topLogprobs: 2, promptLogprobs: 2 };
      const expected = await library.answer(prompt, options);
      const { text, logprobs } = ofText.choices[index];
      assert.equal(text, prompt + expected.text);
      assert.deepEqual(logprobs.token_logprobs, [
        null,
        ...expected.tokens[0].promptTokens.slice(1).map(({ logprob }) => logprob),
        ...logprobsOf(expected),
      ]);
    }
  });

  test('a stream says the same', async () => {
    const expected = await library.answer(LONGER, { maxNewTokens: 6, ignoreEos: true });
    const chunks = await all(
      await client.completions.create({
        model: MODEL,
        prompt: LONGER,
        max_tokens: 6,
        ignore_eos: true,
        logprobs: 0,
        stream: true,
      }),
    );
    const choices = chunks.flatMap((chunk) => chunk.choices);
    assert.equal(choices.map(({ text }) => text).join(''), expected.text);
    assert.deepEqual(
      choices.flatMap(({ logprobs }) => logprobs?.exit_depths ?? []),
      depthsOf(expected),
    );
  });
});

describe('responses', () => {
  test('text of the answer, and its depth', async () => {
    const expected = await library.answer(LONGER, { exitPolicy: 'cdf:0.5', topLogprobs: 0 });
    const response = await client.responses.create({
      model: MODEL,
      input: LONGER,
      exit_policy: 'cdf:0.5',
      include: ['message.output_text.logprobs'],
      store: false,
    });
    assert.equal(response.output_text, expected.answer);
    assert.equal(response.status, 'completed');
    const [{ content }] = response.output;
    // the end of the text is no part of the message
    const numShown = content[0].logprobs.length;
    assert.deepEqual(
      content[0].logprobs.map((token) => token.exit_depth),
      depthsOf(expected).slice(0, numShown),
    );
    assert.equal(response.usage.mean_depth, expected.meanDepth);
    assert.equal(response.usage.output_tokens, expected.tokenIds.length);
  });

  test('typed events add up to the same', async () => {
    const body = { model: MODEL, input: LONGER, max_output_tokens: 6, ignore_eos: true };
    const whole = await client.responses.create(body);
    const events = await all(await client.responses.create({ ...body, stream: true }));
    const types = events.map(({ type }) => type);
    assert.equal(types[0], 'response.created');
    assert.equal(types.at(-1), 'response.incomplete');
    assert.deepEqual(
      events.map((event) => event.sequence_number),
      events.map((_, index) => index),
    );
    const deltas = events.filter(({ type }) => type === 'response.output_text.delta');
    assert.equal(deltas.map(({ delta }) => delta).join(''), whole.output_text);
    const stream = client.responses.stream(body);
    const final = await stream.finalResponse();
    assert.equal(final.output_text, whole.output_text);
    assert.deepEqual(final.incomplete_details, { reason: 'max_output_tokens' });
    assert.equal(final.usage.mean_depth, whole.usage.mean_depth);
  });

  test('a conversation goes on with what came back', async () => {
    const first = await client.responses.create({ model: MODEL, input: PROBLEM });
    const expected = await library.answer(LONGER);
    const second = await client.responses.create({
      model: MODEL,
      input: [
        { role: 'user', content: PROBLEM },
        ...first.output,
        { role: 'user', content: LONGER },
      ],
    });
    assert.equal(second.output_text, expected.answer);
  });
});

describe('a client that leaves in mid-stream', () => {
  const streams = {
    chat: (signal) =>
      client.chat.completions.create({ model: MODEL, messages, stream: true, ...LONG }, { signal }),
    completions: (signal) =>
      client.completions.create(
        { model: MODEL, prompt: PROBLEM, stream: true, ...LONG },
        { signal },
      ),
    responses: (signal) => {
      const { max_tokens: limit, ...rest } = LONG;
      const body = {
        model: MODEL,
        input: PROBLEM,
        stream: true,
        max_output_tokens: limit,
        ...rest,
      };
      return client.responses.create(body, { signal });
    },
  };
  const ended = 'finished_reason="abort"';
  const numAborted = () => server.metric('vllm:request_success_total', ended);

  for (const [name, start] of Object.entries(streams)) {
    test(`by a signal: ${name}`, async () => {
      const numBefore = await numAborted();
      const controller = new AbortController();
      let numParts = 0;
      for await (const _ of await start(controller.signal)) {
        numParts += 1;
        if (numParts === 5) controller.abort();
      }
      assert.ok(numParts < 100, `${numParts} parts came after all`);
      await until(async () => (await numAborted()) === numBefore + 1);
      assert.equal(await server.metric('vllm:num_requests_running'), 0);
    });

    test(`by leaving the loop: ${name}`, async () => {
      const numBefore = await numAborted();
      for await (const _ of await start()) break;
      await until(async () => (await numAborted()) === numBefore + 1);
      assert.equal(await server.metric('vllm:num_requests_running'), 0);
    });
  }

  test('or before there is an answer', async () => {
    const numBefore = await numAborted();
    const controller = new AbortController();
    const asked = client.chat.completions.create(
      { model: MODEL, messages, ...LONG },
      { signal: controller.signal },
    );
    await until(async () => (await server.metric('vllm:num_requests_running')) === 1);
    controller.abort();
    await assert.rejects(asked, OpenAI.APIUserAbortError);
    await until(async () => (await numAborted()) === numBefore + 1);
  });
});

describe('errors have types, with the field and a code', () => {
  const ask = (more) => client.chat.completions.create({ model: MODEL, messages, ...more });

  test('BadRequestError', async () => {
    await assert.rejects(ask({ exit_policy: 'often' }), (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError);
      assert.deepEqual([error.status, error.param], [400, 'exit_policy']);
      assert.equal(error.type, 'invalid_request_error');
      assert.match(error.message, /often/);
      assert.match(error.requestID, /^req_/);
      return true;
    });
    await assert.rejects(ask({ no_such_field: 1 }), {
      status: 400,
      param: 'no_such_field',
      code: 'unknown_parameter',
    });
    await assert.rejects(ask({ response_format: { type: 'json_object' } }), {
      status: 400,
      param: 'response_format.type',
    });
    await assert.rejects(ask({ temperature: 'hot' }), { status: 400, param: 'temperature' });
    const tooLong = { messages: [{ role: 'user', content: PROBLEM.repeat(200) }] };
    await assert.rejects(ask(tooLong), { status: 400, code: 'context_length_exceeded' });
    await assert.rejects(
      client.responses.create({ model: MODEL, input: 'a', previous_response_id: 'resp_1' }),
      { status: 400, param: 'previous_response_id' },
    );
  });

  test('AuthenticationError', async () => {
    const stranger = clientOf(server, { apiKey: 'guess' });
    const asked = stranger.chat.completions.create({ model: MODEL, messages });
    await assert.rejects(asked, (error) => {
      assert.ok(error instanceof OpenAI.AuthenticationError);
      assert.deepEqual([error.status, error.type], [401, 'authentication_error']);
      assert.equal(error.code, 'invalid_api_key');
      return true;
    });
  });

  test('NotFoundError', async () => {
    const asked = client.chat.completions.create({ model: 'gpt-9', messages });
    await assert.rejects(asked, (error) => {
      assert.ok(error instanceof OpenAI.NotFoundError);
      assert.deepEqual([error.status, error.param], [404, 'model']);
      assert.equal(error.code, 'model_not_found');
      return true;
    });
    await assert.rejects(client.models.retrieve('gpt-9'), OpenAI.NotFoundError);
    await assert.rejects(client.embeddings.create({ model: MODEL, input: 'a' }), {
      status: 404,
      code: 'not_found',
    });
  });

  test('RateLimitError, and a client that tries again gets its answer', async () => {
    await using small = await startServer(['--max-sequences', '1', '--max-queue', '0']);
    const hasty = clientOf(small);
    const controller = new AbortController();
    const long = await hasty.chat.completions.create(
      { model: MODEL, messages, stream: true, ...LONG },
      { signal: controller.signal },
    );
    const parts = long[Symbol.asyncIterator]();
    await parts.next();
    await assert.rejects(hasty.chat.completions.create({ model: MODEL, messages }), (error) => {
      assert.ok(error instanceof OpenAI.RateLimitError);
      assert.deepEqual([error.status, error.type], [429, 'rate_limit_error']);
      assert.ok(Number(error.headers.get('retry-after')) >= 1);
      return true;
    });
    const patient = clientOf(small, { maxRetries: 8 });
    const asked = patient.chat.completions.create({ model: MODEL, messages });
    controller.abort();
    const expected = await library.answer(PROBLEM);
    assert.equal((await asked).choices[0].message.content, expected.answer);
  });
});
