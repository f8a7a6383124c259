/** Calls of tools and reasoning, of a model that writes what a test has it write. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { WireChatChunk, WireChatCompletion } from '../../src/serve/wire/chat.js';
import { chatChunkSchema, chatCompletionSchema } from '../../src/serve/wire/chat.js';
import type { WireResponse } from '../../src/serve/wire/responses.js';
import { responseSchema } from '../../src/serve/wire/responses.js';
import { fakeModel } from './fake-model.js';
import type { Model, TestServer } from './server.js';
import { ChatTemplate, loadModel, openServer } from './server.js';
import { chunksOf, sseEvents } from './sse.js';

const WRITTEN = [
  'Let me ',
  'see.',
  'I look. ',
  '\n<tool',
  '_call>\n{"name": "add", "argu',
  'ments": {"a": 2, "b": 3}}\n</tool_call>\n<tool_call>',
  '{"name": "now", "arguments": {}}</tool_call>',
];
const NUM_REASONING = 2;
const TOOL = {
  type: 'function',
  function: { name: 'add', description: 'Adds.', parameters: { type: 'object' } },
};
const TEMPLATE = `{% if tools %}{{ tools | length }} tools; {% endif %}{% for message in messages %}{{ message.role }}: {{ message.content }}{% for call in message.tool_calls or [] %} calls {{ call.function.name }} with {{ call.function.arguments.a }}{% endfor %}; {% endfor %}`;

let model: Model;
let server: TestServer;
let rendered = '';

beforeAll(async () => {
  model = await loadModel();
  const fake = fakeModel(model, {
    text: (at) => WRITTEN[at]!,
    numTokens: WRITTEN.length,
    numReasoning: NUM_REASONING,
  });
  server = await openServer(
    {
      ...fake.model,
      stats: model.stats,
      chatPrompt(messages, options) {
        const { prompt, endIds } = model.chatPrompt(messages, options);
        rendered = prompt;
        return { prompt, endIds };
      },
    },
    { chatTemplate: new ChatTemplate(TEMPLATE) },
  );
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await model.dispose();
});

const messages = [{ role: 'user', content: 'What is 2 + 3?' }];
const CALLS = [
  { name: 'add', arguments: '{"a":2,"b":3}' },
  { name: 'now', arguments: '{}' },
];

describe('chat', () => {
  test('calls, text and reasoning come apart', async () => {
    const body = { messages, tools: [TOOL], max_tokens: 100 };
    const answer = chatCompletionSchema.parse(
      await server.json<WireChatCompletion>('/v1/chat/completions', body),
    );
    const { message, finish_reason: reason } = answer.choices[0]!;
    expect(message.reasoning).toBe('Let me see.');
    expect(message.content).toBe('I look.');
    expect(message.tool_calls!.map((call) => call.function)).toEqual(CALLS);
    expect(new Set(message.tool_calls!.map(({ id }) => id)).size).toBe(2);
    expect(reason).toBe('tool_calls');
    expect(answer.usage.completion_tokens_details.reasoning_tokens).toBe(NUM_REASONING);
    expect(rendered).toBe('1 tools; user: What is 2 + 3?; ');
  });

  test('a stream has the same calls, each with its index', async () => {
    const body = { messages, tools: [TOOL], stream: true };
    const chunks = (
      await chunksOf<WireChatChunk>(await server.ask('/v1/chat/completions', body))
    ).map((chunk) => chatChunkSchema.parse(chunk));
    const deltas = chunks.map(({ choices }) => choices[0]!.delta);
    const calls = deltas.flatMap((delta) => delta.tool_calls ?? []);
    expect(calls.map((call) => [call.index, call.function])).toEqual([
      [0, CALLS[0]],
      [1, CALLS[1]],
    ]);
    expect(deltas.map(({ content }) => content ?? '').join('')).toBe('I look.');
    expect(deltas.map(({ reasoning }) => reasoning ?? '').join('')).toBe('Let me see.');
    expect(deltas.map((delta) => delta.reasoning_content ?? '').join('')).toBe('Let me see.');
    expect(chunks.at(-1)!.choices[0]!.finish_reason).toBe('tool_calls');
  });

  test('without tools, or with tool_choice none, calls are text', async () => {
    for (const more of [{}, { tools: [TOOL], tool_choice: 'none' }]) {
      const { choices } = await server.json<WireChatCompletion>('/v1/chat/completions', {
        messages,
        ...more,
      });
      expect(choices[0]!.message.content).toBe(WRITTEN.slice(NUM_REASONING).join(''));
      expect(choices[0]!.message).not.toHaveProperty('tool_calls');
      expect(choices[0]!.finish_reason).toBe('stop');
      // the model sees what it may not call
      expect(rendered.startsWith('1 tools; ')).toBe('tools' in more);
    }
  });

  test('a conversation with calls and their results goes to the template', async () => {
    const { choices } = await server.json<WireChatCompletion>('/v1/chat/completions', {
      messages,
      tools: [TOOL],
    });
    const [choice] = choices;
    const talk = [
      ...messages,
      choice!.message, // as clients send it back
      { role: 'tool', tool_call_id: choice!.message.tool_calls![0]!.id, content: '5' },
    ];
    const response = await server.ask('/v1/chat/completions', { messages: talk, tools: [TOOL] });
    expect([response.status, rendered]).toEqual([
      200,
      '1 tools; user: What is 2 + 3?; assistant: I look. calls add with 2 calls now with ; tool: 5; ',
    ]);
  });

  test('arguments that are no JSON are refused where they stand', async () => {
    const call = { id: 'a', type: 'function', function: { name: 'add', arguments: '{' } };
    const talk = [...messages, { role: 'assistant', content: null, tool_calls: [call] }];
    const response = await server.ask('/v1/chat/completions', { messages: talk });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      error: { param: 'messages.1.tool_calls.0.function.arguments' },
    });
  });
});

describe('responses', () => {
  const tools = [{ type: 'function', ...TOOL.function }];

  test('reasoning, text and calls are items in their order', async () => {
    const answer = responseSchema.parse(
      await server.json<WireResponse>('/v1/responses', { input: 'What is 2 + 3?', tools }),
    );
    expect(answer.output).toMatchObject([
      { type: 'reasoning', content: [{ type: 'reasoning_text', text: 'Let me see.' }] },
      { type: 'message', content: [{ type: 'output_text', text: 'I look.' }] },
      { type: 'function_call', ...CALLS[0] },
      { type: 'function_call', ...CALLS[1] },
    ]);
    expect(rendered).toBe('1 tools; user: What is 2 + 3?; ');
    const back = {
      input: [
        { role: 'user', content: 'What is 2 + 3?' },
        ...answer.output,
        { type: 'function_call_output', call_id: 'call', output: '5' },
      ],
      tools,
    };
    expect((await server.ask('/v1/responses', back)).status).toBe(200);
    expect(rendered).toBe(
      '1 tools; user: What is 2 + 3?; assistant: I look. calls add with 2 calls now with ; tool: 5; ',
    );
  });

  test('its events open, fill and close each item', async () => {
    const body = { input: 'What is 2 + 3?', tools, stream: true };
    const types: string[] = [];
    let last: { response?: unknown } = {};
    for await (const { data } of sseEvents(await server.ask('/v1/responses', body))) {
      const event = JSON.parse(data) as { type: string; response?: unknown };
      last = event;
      const type = event.type.replace('response.', '');
      if (types.at(-1) !== type) types.push(type);
    }
    expect(types).toEqual([
      'created',
      'in_progress',
      'output_item.added',
      'content_part.added',
      'reasoning_text.delta',
      'reasoning_text.done',
      'content_part.done',
      'output_item.done',
      'output_item.added',
      'content_part.added',
      'output_text.delta',
      'output_text.done',
      'content_part.done',
      'output_item.done',
      'output_item.added',
      'function_call_arguments.delta',
      'function_call_arguments.done',
      'output_item.done',
      'output_item.added',
      'function_call_arguments.delta',
      'function_call_arguments.done',
      'output_item.done',
      'completed',
    ]);
    expect(responseSchema.parse(last.response).output).toHaveLength(4);
  });
});
