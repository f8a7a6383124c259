/** The AI SDK against `looplm serve`, checked against the library. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, generateText, isStepCount, jsonSchema, streamText, tool } from 'ai';
import { LONGER, MODEL, PROBLEM, built, openLibrary, startServer, until } from './support.mjs';

const { fakeModel } = await built('test/serve/fake-model.js');
const { ChatTemplate, loadModel, openServer } = await built('test/serve/server.js');

/** Id of `<|endoftext|>` in the bundled model. */
const END = 0;

let server;
let library;
let model;

/** Exit depths of the answer and what the loops came to, out of whole answers and of chunks. */
const metadataExtractor = {
  extractMetadata: async ({ parsedBody }) => {
    const extractor = metadataExtractor.createStreamExtractor();
    extractor.processChunk(parsedBody);
    return extractor.buildMetadata();
  },
  createStreamExtractor() {
    const depths = [];
    let usage;
    return {
      processChunk(chunk) {
        for (const { logprobs } of chunk.choices ?? []) {
          depths.push(...(logprobs?.content ?? []).map((token) => token.exit_depth));
        }
        usage = chunk.usage ?? usage;
      },
      buildMetadata: () => ({
        looplm: { depths, meanDepth: usage?.mean_depth, loopsSaved: usage?.loops_saved },
      }),
    };
  },
};

const providerOf = (url) =>
  createOpenAICompatible({
    name: 'looplm',
    baseURL: `${url}/v1`,
    includeUsage: true,
    metadataExtractor,
  });

before(async () => {
  server = await startServer();
  library = await openLibrary();
  model = providerOf(server.url)(MODEL);
});
after(async () => {
  await server?.[Symbol.asyncDispose]();
  await library?.[Symbol.asyncDispose]();
});

const depthsOf = ({ tokens }) => tokens.map(({ exitDepth }) => exitDepth);

describe('depth goes in as provider options, and comes out as metadata', () => {
  const body = { exit_policy: 'cdf:0.5', min_depth: 2, logprobs: true, ignore_eos: true };
  const options = {
    exitPolicy: 'cdf:0.5',
    minDepth: 2,
    maxNewTokens: 10,
    ignoreEos: true,
    topLogprobs: 0,
  };
  const asked = () => ({
    model,
    prompt: LONGER,
    maxOutputTokens: 10,
    providerOptions: { looplm: body },
  });

  test('generateText', async () => {
    const expected = await library.answer(LONGER, options);
    const result = await generateText(asked());
    assert.equal(result.text, expected.answer);
    assert.equal(result.finishReason, 'length');
    const { depths, meanDepth, loopsSaved } = result.finalStep.providerMetadata.looplm;
    assert.deepEqual(depths, depthsOf(expected));
    assert.ok(depths.every((depth) => depth >= 2));
    assert.equal(meanDepth, expected.meanDepth);
    assert.ok(loopsSaved > 0);
    assert.equal(result.usage.inputTokens, library.encode(LONGER).length);
    assert.equal(result.usage.outputTokens, 10);
    assert.deepEqual(result.warnings ?? [], []);
  });

  test('streamText', async () => {
    const expected = await library.answer(LONGER, options);
    const result = streamText(asked());
    let text = '';
    for await (const delta of result.textStream) text += delta;
    assert.equal(text, expected.answer);
    const { depths, meanDepth } = (await result.finalStep).providerMetadata.looplm;
    assert.deepEqual(depths, depthsOf(expected));
    assert.equal(meanDepth, expected.meanDepth);
    assert.equal((await result.usage).outputTokens, 10);
    assert.equal(await result.finishReason, 'length');
  });

  test('another depth gives what the library gives at it', async () => {
    for (const depth of [1, 4]) {
      const expected = await library.answer(LONGER, { exitPolicy: `fixed:${depth}` });
      const { text, finalStep } = await generateText({
        model,
        prompt: LONGER,
        providerOptions: { looplm: { exit_policy: `fixed:${depth}`, logprobs: true } },
      });
      assert.equal(text, expected.answer);
      assert.deepEqual(finalStep.providerMetadata.looplm.depths, depthsOf(expected));
    }
  });
});

describe("OpenAI's own provider", () => {
  const openai = () => createOpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none' });

  for (const api of ['responses', 'chat']) {
    test(`${api}: an answer, a stream, and a conversation`, async () => {
      const own = openai()[api](MODEL);
      const expected = await library.answer(LONGER);
      const { text, finishReason, usage } = await generateText({ model: own, prompt: LONGER });
      assert.equal(text, expected.answer);
      assert.equal(finishReason, 'stop');
      assert.equal(usage.outputTokens, expected.tokenIds.length);
      let told = '';
      const { textStream } = streamText({ model: own, prompt: LONGER, maxOutputTokens: 3 });
      for await (const delta of textStream) told += delta;
      assert.equal(told, (await library.answer(LONGER, { maxNewTokens: 3 })).answer);
      const talk = await generateText({
        model: own,
        messages: [
          { role: 'user', content: PROBLEM },
          { role: 'assistant', content: ' 2' },
          { role: 'user', content: LONGER },
        ],
      });
      assert.equal(talk.text, expected.answer);
    });
  }
});

test('a conversation, settings of sampling, and stop sequences', async () => {
  const sampling = { temperature: 1, topP: 0.9, seed: 11 };
  const expected = await library.answer(PROBLEM, {
    maxNewTokens: 8,
    ignoreEos: true,
    sampling,
    stopStrings: ['swap'],
  });
  const { text } = await generateText({
    model,
    instructions: 'Be brief.',
    messages: [
      { role: 'user', content: LONGER },
      { role: 'assistant', content: ' 3' },
      { role: 'user', content: [{ type: 'text', text: PROBLEM }] },
    ],
    maxOutputTokens: 8,
    stopSequences: ['swap'],
    ...sampling,
    providerOptions: { looplm: { ignore_eos: true } },
  });
  assert.equal(text, expected.answer);
});

test('a client that aborts frees its sequence', async () => {
  const ended = 'finished_reason="abort"';
  const numAborted = () => server.metric('vllm:request_success_total', ended);
  const numBefore = await numAborted();
  const controller = new AbortController();
  let numDeltas = 0;
  let aborted = false;
  const { textStream } = streamText({
    model,
    prompt: PROBLEM,
    abortSignal: controller.signal,
    onAbort: () => (aborted = true),
    // the end of the text is ruled out, so that every token has some
    providerOptions: { looplm: { logit_bias: { [END]: -100 }, exit_policy: 'full' } },
  });
  for await (const _ of textStream) {
    numDeltas += 1;
    if (numDeltas === 5) controller.abort();
  }
  assert.ok(numDeltas < 100 && aborted);
  await until(async () => (await numAborted()) === numBefore + 1);
  assert.equal(await server.metric('vllm:num_requests_running'), 0);
});

test('a refusal is an APICallError with the message of the server', async () => {
  const asked = generateText({
    model,
    prompt: PROBLEM,
    maxRetries: 0,
    providerOptions: { looplm: { exit_policy: 'often' } },
  });
  await assert.rejects(asked, (error) => {
    assert.ok(APICallError.isInstance(error));
    assert.equal(error.statusCode, 400);
    assert.equal(error.isRetryable, false);
    assert.equal(error.data.error.param, 'exit_policy');
    assert.match(error.message, /often/);
    return true;
  });
});

describe('tools, of a model that writes what is given here', () => {
  const CALL = [
    'I ',
    'look.\n',
    '<tool_call>\n{"name": "add", "argu',
    'ments": {"a": 2, "b": 3}}\n',
    '</tool_call>',
  ];
  const ANSWER = ['It is ', '5.'];
  const TEMPLATE = `{% for tool in tools or [] %}[{{ tool.function.name }}: {{ tool.function.description }}] {% endfor %}{% for message in messages %}{{ message.role }}: {{ message.content }}{% for call in message.tool_calls or [] %} calls {{ call.function.name }} with {{ call.function.arguments.a }} and {{ call.function.arguments.b }}{% endfor %}; {% endfor %}`;
  let bundled;
  let scripted;
  const prompts = [];

  before(async () => {
    bundled = await loadModel();
    /** Calls first, and answers once the result of the call is in the prompt. */
    const written = (prompt) => (prompt.includes('tool: ') ? ANSWER : CALL);
    const asked = () => written(prompts.at(-1));
    const fake = fakeModel(bundled, { text: (at) => asked()[at] ?? '', numTokens: CALL.length });
    scripted = await openServer(
      {
        ...fake.model,
        stats: bundled.stats,
        chatPrompt(messages, options) {
          const rendered = bundled.chatPrompt(messages, options);
          prompts.push(rendered.prompt);
          return rendered;
        },
      },
      { chatTemplate: new ChatTemplate(TEMPLATE), modelName: 'scripted' },
    );
  });
  after(async () => {
    await scripted?.[Symbol.asyncDispose]();
    await bundled?.dispose();
  });

  const calls = [];
  const tools = {
    add: tool({
      description: 'Adds.',
      inputSchema: jsonSchema({
        type: 'object',
        properties: { a: { type: 'number' }, b: { type: 'number' } },
        required: ['a', 'b'],
      }),
      execute: async ({ a, b }) => {
        calls.push([a, b]);
        return a + b;
      },
    }),
  };
  const prompt = 'What is 2 + 3?';
  const first = '[add: Adds.] user: What is 2 + 3?; ';

  const openai = () => createOpenAI({ baseURL: `${scripted.url}/v1`, apiKey: 'none' });
  const models = {
    compatible: () => providerOf(scripted.url)('scripted'),
    responses: () => openai().responses('scripted'),
  };
  // nothing is kept, so items of earlier steps are sent, and not referred to
  const providerOptions = { openai: { store: false } };
  const ways = Object.entries(models).flatMap(([name, ofServer]) =>
    ['generateText', 'streamText'].map((way) => [way, name, ofServer]),
  );

  for (const [way, name, ofServer] of ways) {
    test(`${way}, ${name}: calls a tool and goes on with its result`, async () => {
      calls.length = 0;
      prompts.length = 0;
      const settings = {
        model: ofServer(),
        providerOptions,
        prompt,
        tools,
        stopWhen: isStepCount(3),
      };
      const result = way === 'generateText' ? await generateText(settings) : streamText(settings);
      const steps = await result.steps;
      assert.deepEqual(calls, [[2, 3]]);
      assert.equal(steps.length, 2);
      assert.equal(steps[0].finishReason, 'tool-calls');
      assert.equal(steps[0].text, 'I look.');
      assert.deepEqual(
        steps[0].toolCalls.map(({ toolName, input }) => [toolName, input]),
        [['add', { a: 2, b: 3 }]],
      );
      assert.equal(await result.text, 'It is 5.');
      assert.equal(prompts[0], first);
      assert.ok(prompts[1].startsWith(first + 'assistant: I look. calls add with 2 and 3; tool: '));
      assert.match(prompts[1], /tool: 5; $/);
    });
  }

  test('what refers to an item of an earlier answer is told that nothing is kept', async () => {
    prompts.length = 0;
    const settings = { model: openai().responses('scripted'), prompt, tools, maxRetries: 0 };
    await assert.rejects(generateText({ ...settings, stopWhen: isStepCount(3) }), (error) => {
      assert.equal(error.statusCode, 400);
      assert.match(
        error.message,
        /nothing is kept; send the item itself, as clients do with store: false/,
      );
      return true;
    });
  });
});
