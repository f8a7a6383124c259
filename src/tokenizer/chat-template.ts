/**
 * Chat messages to the text that a chat model reads.
 *
 * A template is a Jinja program over the messages, rendered by the jinja package within bounds of time
 * and memory (`bounded-jinja.ts`). Produces text only; the tokenizer then recognises the special tokens in it. Source: the ChatML format, and the
 * two templates in use for the Ouro release, in our own words.
 */

import { z } from 'zod';
import { ConfigError, RequestError } from '../errors.js';
import { BoundedTemplate } from './bounded-jinja.js';
import { TemplateLimitError } from './jinja-work.js';
import { parseFields } from '../util/parse-fields.js';
import { quote, showValue } from '../util/quote.js';
import { describeIssue } from './parse.js';
import { THINK_PREFIX, opensThinking } from './reasoning.js';
import { parseTokenizerConfig, type TokenizerConfig } from './tokenizer-config.js';

/** One turn of a conversation. All of it is passed to the template; the content is not trimmed. */
export type ChatMessage = {
  readonly role: string;
  readonly content: string;
  /** What the assistant thought before it. */
  readonly reasoning_content?: string | undefined;
  /** Tools that the assistant called: their arguments are objects. */
  readonly tool_calls?: readonly ToolCall[] | undefined;
  /** Of a message of role `tool`: the call that it answers. */
  readonly tool_call_id?: string | undefined;
  readonly name?: string | undefined;
};

/** A call of a tool, as templates read it. */
export type ToolCall = {
  readonly id?: string | undefined;
  readonly type: 'function';
  readonly function: { readonly name: string; readonly arguments: unknown };
};

/** What `ChatTemplate.apply` adds after the messages. */
export type ChatTemplateOptions = {
  /** Opens the turn of the assistant. Default `false`. */
  readonly addGenerationPrompt?: boolean;
  /**
   * Passed to the template as `enable_thinking`; absent leaves that variable undefined. `true` with
   * `addGenerationPrompt` ends the text in `<think>` and a newline, also if the template has no such
   * switch: the released Thinking models do not write the tag by themselves.
   */
  readonly enableThinking?: boolean | undefined;
  /** Tools that the model may call, as JSON; needs a template that reads `tools`. */
  readonly tools?: readonly unknown[] | undefined;
  /** More variables for the template, as JSON. */
  readonly variables?: Readonly<Record<string, unknown>> | undefined;
};

const CHATML_TURNS = String.raw`{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}{% endfor %}`;
const CHATML_DEFAULT_SYSTEM = String.raw`{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}`;
const CHATML_PROMPT = String.raw`{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`;
const CHATML_THINK = String.raw`{% if add_generation_prompt and enable_thinking %}{{ '<think>\n' }}{% endif %}`;

/** ChatML templates of the Ouro release, for models that bring none of their own. */
export const CHATML_TEMPLATES = {
  /** As released: a conversation without a system message gets a default one. */
  base: CHATML_DEFAULT_SYSTEM + CHATML_TURNS + CHATML_PROMPT,
  /** Corrected: no default system message; `enableThinking` opens a `<think>` block. */
  corrected: CHATML_TURNS + CHATML_PROMPT + CHATML_THINK,
} as const;

const JSON_VALUE = z.json({ error: 'it must be JSON' });

const messageSchema = z.strictObject(
  {
    role: z.string('it must be a text').min(1, 'it must not be empty'),
    content: z.string('it must be a text'),
    reasoning_content: z.string('it must be a text').optional(),
    tool_calls: z
      .array(
        z.strictObject({
          id: z.string('it must be a text').optional(),
          type: z.literal('function', "it must be 'function'"),
          function: z.strictObject({
            name: z.string('it must be a text'),
            arguments: JSON_VALUE,
          }),
        }),
        'it must be a list',
      )
      .optional(),
    tool_call_id: z.string('it must be a text').optional(),
    name: z.string('it must be a text').optional(),
  },
  {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? `${quote(issue.keys[0] ?? '')} is not known`
        : 'it must be an object',
  },
);
const messagesSchema = z.array(messageSchema, 'it must be a list').min(1, 'it is empty');

const isTrue = z.boolean('it must be true or false. Leave it out for the default.').optional();
const optionsSchema = z.strictObject(
  {
    addGenerationPrompt: isTrue,
    enableThinking: isTrue,
    tools: z.array(JSON_VALUE, 'it must be a list. Leave it out for none.').optional(),
    variables: z
      .record(z.string(), JSON_VALUE, 'it must be an object. Leave it out for none.')
      .optional(),
  },
  'they must be an object. Use {} for the defaults.',
);

/** A compiled chat template. */
export class ChatTemplate {
  /** The Jinja source. */
  readonly source: string;
  readonly #template: BoundedTemplate;
  readonly #variables: Readonly<Record<string, string>>;

  /**
   * Compiles a Jinja source. Templates see the special tokens as `bos_token`, `eos_token`,
   * `pad_token` and `unk_token`.
   *
   * @throws ConfigError if the source is not valid Jinja.
   */
  constructor(source: string, specialTokens: TokenizerConfig = {}) {
    this.source = source;
    this.#template = compile(source);
    this.#variables = templateVariables(specialTokens);
  }

  /**
   * Compiles the chat template of a parsed tokenizer_config.json.
   *
   * @throws ConfigError if the file carries no template, or one that is not valid.
   */
  static fromConfig(tokenizerConfigJson: unknown): ChatTemplate {
    const config = parseTokenizerConfig(tokenizerConfigJson);
    if (config.chatTemplate === undefined) {
      throw new ConfigError(
        'chat_template',
        'tokenizer_config.json has no chat_template; chat needs one. ' +
          'Add it, or choose one of CHATML_TEMPLATES.',
      );
    }
    return new ChatTemplate(config.chatTemplate, config);
  }

  /** Whether it tells the model of tools. */
  get readsTools(): boolean {
    return /\btools\b/.test(this.source);
  }

  /**
   * Renders a conversation.
   *
   * @param messages - At least one message.
   * @throws RequestError if the messages are not valid, the template has no place for tools, or the template refuses them or does more work
   * than they can need.
   */
  apply(messages: readonly ChatMessage[], options: ChatTemplateOptions = {}): string {
    const checked = checkMessages(messages);
    const {
      addGenerationPrompt = false,
      enableThinking,
      tools,
      variables,
    } = parseFields(optionsSchema, options, 'the options of a chat template');
    if (tools && !this.readsTools) {
      throw new RequestError(
        'tools are given, but the chat template of the model has no place for them; leave them out, or use a model for tools.',
      );
    }
    const text = this.#render(
      {
        ...variables,
        ...(tools && { tools }),
        messages: checked,
        add_generation_prompt: addGenerationPrompt,
        ...(enableThinking === undefined ? {} : { enable_thinking: enableThinking }),
      },
      charactersOf(checked) + JSON.stringify([tools ?? [], variables ?? {}]).length,
    );
    const lacksThinking = addGenerationPrompt && enableThinking && !opensThinking(text);
    return lacksThinking ? text + THINK_PREFIX : text;
  }

  #render(variables: Record<string, unknown>, numCharacters: number): string {
    try {
      return this.#template.render({ ...this.#variables, ...variables }, numCharacters);
    } catch (cause) {
      if (cause instanceof TemplateLimitError) {
        throw new RequestError(
          `the chat template was stopped: ${cause.message}. Correct the template, or take another one.`,
          { cause },
        );
      }
      throw new RequestError(
        `the chat template refused the messages (${reasonOf(cause, 'it uses a value that is not there')}); it must render them. ` +
          'Change the messages or the template.',
        { cause },
      );
    }
  }
}

/** A message counts more than its text: templates do some work for each. */
const CHARACTERS_PER_MESSAGE = 256;

function charactersOf(messages: readonly ChatMessage[]): number {
  return messages.reduce(
    (sum, message) => sum + JSON.stringify(message).length + CHARACTERS_PER_MESSAGE,
    0,
  );
}

function compile(source: string): BoundedTemplate {
  try {
    return new BoundedTemplate(source);
  } catch (cause) {
    throw new ConfigError(
      'chat_template',
      `chat_template cannot be read (${reasonOf(cause, 'it ends in the middle')}); it must be a Jinja template. ` +
        'Correct it, or choose one of CHATML_TEMPLATES.',
      { cause },
    );
  }
}

/** What templates call the special tokens. */
const TOKEN_VARIABLES = {
  bosToken: 'bos_token',
  eosToken: 'eos_token',
  padToken: 'pad_token',
  unkToken: 'unk_token',
} as const;

function templateVariables(tokens: TokenizerConfig): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const [name, variable] of Object.entries(TOKEN_VARIABLES)) {
    const token: unknown = tokens?.[name as keyof typeof TOKEN_VARIABLES];
    if (token === undefined) continue;
    if (typeof token !== 'string') {
      throw new ConfigError(
        name,
        `The special token ${name} is ${showValue(token)}; it must be a text, or be left out.`,
      );
    }
    variables[variable] = token;
  }
  return variables;
}

function checkMessages(messages: unknown): ChatMessage[] {
  const result = messagesSchema.safeParse(messages);
  if (result.success) return result.data;
  const { path, problem } = describeIssue(result.error);
  throw new RequestError(
    `chat messages, ${path}: ${problem}. Give a list of { role, content } with at least one entry.`,
  );
}

/** What a template says may be a text of any length. */
const MAX_REASON = 500;

/** @param missing - what it means if the jinja package stumbles over something that is not there. */
function reasonOf(cause: unknown, missing: string): string {
  if (cause instanceof TypeError) return missing;
  const reason = cause instanceof Error ? cause.message : String(cause);
  if (cause instanceof RangeError && /call stack/.test(reason)) return 'it nests too deeply';
  return reason.length > MAX_REASON ? `${reason.slice(0, MAX_REASON)}...` : reason;
}
