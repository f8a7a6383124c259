/**
 * What is learnt of a conversation, token by token: what the assistant writes and the end of its turn, in
 * the text that it has before it when it writes that.
 */
import { describe, expect, test } from 'vitest';
import { RequestError } from '../../errors.js';
import {
  CHATML_TEMPLATES,
  ChatTemplate,
  Tokenizer,
  syntheticTokenizerFiles,
} from '../../tokenizer/index.js';
import { IGNORED_TARGET } from '../batch.js';
import { chatDocuments } from './chat-documents.js';
import { chatLines, cutToRows } from './chat-lines.js';
import { parseConversation } from './conversation.js';

const tokenizer = Tokenizer.fromJson(
  JSON.parse(syntheticTokenizerFiles(400)['tokenizer.json']!) as unknown,
);
const [END, IM_END] = ['<|endoftext|>', '<|im_end|>'].map((token) =>
  tokenizer.tokenToId(token)!,
) as [number, number];

/** Leaves out the reasoning of all turns but the last, as Qwen3's does, and knows tools. */
const REWRITING = `{%- if tools %}<|im_start|>system
tools {{ tools | tojson }}<|im_end|>
{% endif %}{%- for m in messages %}<|im_start|>{{ m.role }}
{% if m.reasoning_content and loop.last %}<think>
{{ m.reasoning_content }}
</think>

{% endif %}{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}`;
/** Always opens reasoning when it asks, and tells none in what was said. */
const OPENING = `{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content.split('</think>') | last | trim }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
<think>
{% endif %}`;

const learn = (line: object, source: string = CHATML_TEMPLATES.corrected) =>
  chatDocuments(parseConversation(JSON.stringify(line)), {
    template: new ChatTemplate(source),
    tokenizer,
    stopIds: [END, IM_END],
    endOfTextId: END,
  });

/**
 * A document as text, what is learnt in brackets. Every target is the next token or ignored, which is
 * checked on the way.
 */
function shown({ ids, targets }: ReturnType<typeof chatDocuments>[number]): string {
  const all = [...ids, targets.at(-1)!];
  let text = '';
  let isOpen = false;
  let run: number[] = [];
  const flush = () => {
    text += tokenizer.decode(run);
    run = [];
  };
  for (const [index, id] of all.entries()) {
    const target = index === 0 ? IGNORED_TARGET : targets[index - 1]!;
    if (target !== IGNORED_TARGET) expect(target).toBe(id);
    const isLearnt = target !== IGNORED_TARGET;
    if (isLearnt !== isOpen) {
      flush();
      text += isLearnt ? '[' : ']';
      isOpen = isLearnt;
    }
    run.push(id);
  }
  flush();
  return isOpen ? `${text}]` : text;
}
const all = (line: object, source?: string) => learn(line, source).map(shown);

const turn = (role: string, content: string, more: object = {}) => ({ role, content, ...more });

describe('messages', () => {
  test('one turn: the answer and its end', () => {
    expect(all({ messages: [turn('user', 'Hi'), turn('assistant', 'Hello')] })).toEqual([
      '<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n[Hello<|im_end|>]',
    ]);
  });

  test('several turns and a system message: all answers, in one document', () => {
    const messages = [
      turn('system', 'Be brief.'),
      turn('user', 'One?'),
      turn('assistant', 'Two'),
      turn('user', 'Three?'),
      turn('assistant', 'Four'),
    ];
    expect(all({ messages })).toEqual([
      '<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nOne?<|im_end|>\n' +
        '<|im_start|>assistant\n[Two<|im_end|>]\n<|im_start|>user\nThree?<|im_end|>\n' +
        '<|im_start|>assistant\n[Four<|im_end|>]',
    ]);
  });

  test('what the template says of its own is not learnt', () => {
    const messages = [turn('user', 'Hi'), turn('assistant', 'Hello')];
    expect(all({ messages }, CHATML_TEMPLATES.base)).toEqual([
      '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' +
        '<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n[Hello<|im_end|>]',
    ]);
  });

  test('a conversation that the assistant begins, and one that the user ends', () => {
    const messages = [turn('assistant', 'Ask me'), turn('user', 'No')];
    expect(all({ messages })).toEqual(['<|im_start|>assistant\n[Ask me<|im_end|>]']);
  });

  test('turns of weight 0 are told and not learnt', () => {
    const messages = [
      turn('user', 'a'),
      turn('assistant', 'wrong', { weight: 0 }),
      turn('user', 'b'),
      turn('assistant', 'right', { weight: 1 }),
    ];
    expect(all({ messages })).toEqual([
      '<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nwrong<|im_end|>\n' +
        '<|im_start|>user\nb<|im_end|>\n<|im_start|>assistant\n[right<|im_end|>]',
    ]);
  });

  test('parts of a text are joined, and notes that no template reads are passed over', () => {
    const content = [
      { type: 'text', text: 'a' },
      { type: 'text', text: 'b' },
    ];
    const messages = [{ role: 'user', content, id: 7 }, turn('assistant', 'c')];
    expect(all({ messages, source: 'web' })[0]).toContain('user\nab<|im_end|>');
  });

  test('a word of the assistant that looks like a turn of its own is all learnt', () => {
    const said = 'user\n<think>\n[a]';
    const [document] = all({ messages: [turn('user', said), turn('assistant', said)] });
    expect(document).toBe(
      `<|im_start|>user\n${said}<|im_end|>\n<|im_start|>assistant\n[${said}<|im_end|>]`,
    );
  });

  test('where the template ends no turn, the end of the text is learnt after the last', () => {
    const source =
      '{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}';
    const messages = [turn('user', 'a'), turn('assistant', 'b')];
    expect(all({ messages }, source)).toEqual(['user: a\nassistant: [b\n<|endoftext|>]']);
  });
});

describe('reasoning', () => {
  const messages = [
    turn('user', 'a'),
    turn('assistant', 'b', { reasoning_content: 'why b' }),
    turn('user', 'c'),
    turn('assistant', 'd', { reasoning: 'why d' }),
  ];

  test('is learnt between its tags, and is not there when the next turn is learnt', () => {
    for (const source of [CHATML_TEMPLATES.corrected, REWRITING]) {
      expect(all({ messages }, source)).toEqual([
        '<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[<think>\nwhy b\n</think>\n\nb<|im_end|>]',
        '<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc<|im_end|>\n' +
          '<|im_start|>assistant\n[<think>\nwhy d\n</think>\n\nd<|im_end|>]',
      ]);
    }
  });

  test('that the template opens and leaves out again: the answer alone', () => {
    expect(
      all({ messages: [turn('user', 'a'), turn('assistant', '<think>x</think>b')] }, OPENING),
    ).toEqual(['<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[b<|im_end|>]']);
  });
});

describe('tools', () => {
  const tools = [{ type: 'function', function: { name: 'add' } }];
  const call = { id: '1', type: 'function', function: { name: 'add', arguments: '{"a": 1}' } };
  const messages = [
    turn('user', '1+1?'),
    { role: 'assistant', content: null, tool_calls: [call] },
    turn('tool', '2', { tool_call_id: '1' }),
    turn('assistant', 'Two'),
  ];

  test('calls are learnt, what tools are and what they answer is not', () => {
    expect(all({ messages, tools }, REWRITING)).toEqual([
      '<|im_start|>system\ntools [{"type": "function", "function": {"name": "add"}}]<|im_end|>\n' +
        '<|im_start|>user\n1+1?<|im_end|>\n' +
        '<|im_start|>assistant\n[<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call><|im_end|>]\n' +
        '<|im_start|>tool\n2<|im_end|>\n<|im_start|>assistant\n[Two<|im_end|>]',
    ]);
  });

  test('that the template has no place for are refused', () => {
    expect(() => all({ messages })).toThrow(
      /message 1 calls tools, and the chat template has no place/,
    );
    const plain = [turn('user', 'a'), turn('assistant', 'b')];
    expect(() => all({ messages: plain, tools })).toThrow(/tools are given, but the chat template/);
  });
});

describe('other shapes', () => {
  const expected = [
    '<|im_start|>system\nS<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[b<|im_end|>]',
  ];

  test.each<[string, object]>([
    ['prompt and completion', { system: 'S', prompt: 'a', completion: 'b' }],
    [
      'prompt and completion of messages',
      { prompt: [turn('system', 'S'), turn('user', 'a')], completion: [turn('assistant', 'b')] },
    ],
    [
      'ShareGPT',
      {
        system: 'S',
        conversations: [
          { from: 'human', value: 'a' },
          { from: 'gpt', value: 'b' },
        ],
      },
    ],
    [
      'ShareGPT with a system turn',
      {
        conversations: [
          { from: 'system', value: 'S' },
          { from: 'user', value: 'a' },
          { from: 'assistant', value: 'b' },
        ],
      },
    ],
  ])('%s', (_, line) => expect(all(line)).toEqual(expected));

  test.each([
    ['a list', [{ name: 'f' }]],
    ['a text', '[{"name": "f"}]'],
  ])('tools of ShareGPT as %s', (_, tools) => {
    const conversations = [
      { from: 'human', value: 'a' },
      { from: 'gpt', value: 'b' },
    ];
    expect(all({ conversations, tools }, REWRITING)[0]).toMatch(
      /^<\|im_start\|>system\ntools \[\{"name": "f"\}\]<\|im_end\|>\n/,
    );
    expect(all({ conversations, tools: '' }, REWRITING)[0]).not.toContain('tools');
    expect(() => all({ conversations, tools: '[f' }, REWRITING)).toThrow(/tools .*must be JSON/);
  });

  test('turns of the assistant in a prompt are not learnt', () => {
    const prompt = [turn('user', 'a'), turn('assistant', 'b'), turn('user', 'c')];
    expect(all({ prompt, completion: 'd' })[0]).toMatch(
      /assistant\nb<.*assistant\n\[d<\|im_end\|>\]$/s,
    );
  });

  test('a call of ShareGPT', () => {
    const conversations = [
      { from: 'human', value: 'a' },
      { from: 'function_call', value: '{"name": "f", "arguments": {}}' },
      { from: 'observation', value: '2' },
      { from: 'gpt', value: 'b' },
    ];
    expect(all({ conversations }, REWRITING)[0]).toMatch(
      /\[<tool_call>\{"name": "f", "arguments": \{\}\}<\/tool_call><\|im_end\|>\]\n<\|im_start\|>tool\n2/,
    );
  });
});

describe('a line', () => {
  const lines = (...some: readonly (object | string)[]) => [
    ...chatLines(
      some.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))),
      {
        path: 'chat.jsonl',
        firstLine: 11,
        template: new ChatTemplate(CHATML_TEMPLATES.corrected),
        tokenizer,
        stopIds: [END, IM_END],
        endOfTextId: END,
      },
    ),
  ];
  const messages = [turn('user', 'abcdefgh'), turn('assistant', 'ijklmnop')];

  test.each<[object | string, RegExp]>([
    ['{"messages"', /not JSON/],
    ['[]', /it is no object; a line is one of \{"messages"/],
    [{ text: 'a' }, /it has text; a line is one of/],
    [{ messages: [] }, /messages is .*; it must not be empty/],
    [{ messages: 'a' }, /messages is "a"; it must be a list of messages/],
    [{ messages: [{ role: 'user', content: 5 }] }, /messages\.0\.content is 5; it must be a text/],
    [{ messages: [{ content: 'a' }] }, /messages\.0\.role is missing; it must be a text/],
    [{ messages: [turn('user', 'a')] }, /no message of the assistant is to be learnt/],
    [{ messages: [turn('assistant', 'a', { weight: 0 })] }, /no message of the assistant/],
    [
      {
        messages: [
          { role: 'assistant', tool_calls: [{ function: { name: 'f', arguments: '{' } }] },
        ],
      },
      /messages\.0\.tool_calls\.0\.function\.arguments is "\{"; it must be JSON/,
    ],
    [{ prompt: 'a', completion: 1 }, /completion is 1; it must be a text or a list of messages/],
    [
      { conversations: [{ from: 'alien', value: 'a' }] },
      /from is "alien"; it must be one of human,/,
    ],
    [{ conversations: [{ from: 'function_call', value: 'a' }] }, /value of a function_call is "a"/],
  ])('of a wrong shape is named: %j', (line, problem) => {
    const read = () => lines({ messages }, '', line);
    expect(read).toThrow(problem);
    expect(read).toThrow(/^chat\.jsonl, line 13: /);
  });

  test('that is longer than a row is cut there, and left out if nothing that counts is left', () => {
    const { documents } = lines({ messages })[0]!;
    const { ids, targets } = documents[0]!;
    const first = targets.findIndex((target) => target >= 0);
    expect(cutToRows(documents, ids.length)).toEqual(documents);
    expect(cutToRows(documents, first + 2)).toEqual([
      { ids: ids.slice(0, first + 2), targets: targets.slice(0, first + 2) },
    ]);
    expect(cutToRows(documents, first)).toEqual([]);
  });
});

test('a template that changes what was said before a turn as soon as it is told is refused', () => {
  const source = `{% for m in messages %}{{ loop.length }}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}`;
  const messages = [turn('user', 'a'), turn('assistant', 'b')];
  const reads = () => all({ messages }, source);
  expect(reads).toThrow(RequestError);
  expect(reads).toThrow(/in another way than when it asks for that message/);
});
