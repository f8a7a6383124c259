/**
 * The tokens that end a text, gathered from every file of a model that names some.
 *
 * One file alone is not to be trusted: the released Ouro models name `<|endoftext|>` in config.json
 * and end their turns with `<|im_end|>`, which only the chat template shows; Nanbeige names the second
 * and may end a text with the first. Ids come from names and files, never from here.
 */
import { quote } from '../util/quote.js';
import type { ChatTemplate } from './chat-template.js';
import type { Tokenizer } from './tokenizer.js';

/** Where a stop token was named. */
export type StopTokenSource =
  | 'config.json'
  | 'generation_config.json'
  | 'tokenizer.json'
  | 'tokenizer_config.json'
  | 'chat template';

/** A token that ends a text. */
export interface StopToken {
  readonly id: number;
  /** Its text; absent without a tokenizer. */
  readonly token?: string;
  /** Every place that names it. */
  readonly sources: readonly StopTokenSource[];
}

/** What a model folder says about the end of a text; what it does not have is `undefined`. */
export interface StopTokenFiles {
  /** Ids of the vocabulary: the model gives a logit to each id below. */
  readonly vocabSize: number;
  /** eos_token_id of config.json. */
  readonly configIds: readonly number[];
  /** eos_token_id of generation_config.json. */
  readonly generationIds: readonly number[];
  /** eos_token of tokenizer_config.json, as text. */
  readonly eosToken: string | undefined;
  readonly chatTemplate: ChatTemplate | undefined;
  readonly tokenizer: Tokenizer | undefined;
}

/** What ends a turn in ChatML. */
const CHATML_END = '<|im_end|>';
/** What ends a text in most vocabularies, whatever the other files say. */
const END_OF_TEXT = '<|endoftext|>';

/**
 * Id of the token that ends a turn in the conversations of a template: `<|im_end|>` if the template
 * writes it and the tokenizer has it.
 */
export function turnEndId(template: ChatTemplate, tokenizer: Tokenizer): number | undefined {
  return template.source.includes(CHATML_END) ? tokenizer.tokenToId(CHATML_END) : undefined;
}

/** The tokens that end a text, in the order of ids. Ids that the model cannot give are left out. */
export function stopTokens(files: StopTokenFiles): StopToken[] {
  const { tokenizer, chatTemplate, eosToken } = files;
  const named: readonly (readonly [StopTokenSource, readonly (number | undefined)[]])[] = [
    ['config.json', files.configIds],
    ['generation_config.json', files.generationIds],
    [
      'tokenizer_config.json',
      [eosToken === undefined ? undefined : tokenizer?.tokenToId(eosToken)],
    ],
    ['tokenizer.json', [tokenizer?.specialTokens.get(END_OF_TEXT)]],
    ['chat template', [chatTemplate && tokenizer && turnEndId(chatTemplate, tokenizer)]],
  ];
  const ids = new Set(named.flatMap(([, some]) => some.filter((id) => id !== undefined)));
  return [...ids]
    .filter((id) => id < files.vocabSize)
    .toSorted((a, b) => a - b)
    .map((id) => {
      const token = tokenizer?.idToToken(id);
      const sources = named.filter(([, some]) => some.includes(id)).map(([source]) => source);
      return { id, ...(token !== undefined && { token }), sources };
    });
}

/** What cannot be a stop token though a file names it, in sentences. */
export function stopTokenNotes(files: StopTokenFiles): string[] {
  const { vocabSize, generationIds, eosToken, tokenizer } = files;
  const notes = generationIds
    .filter((id) => id >= vocabSize)
    .map(
      (id) =>
        `generation_config.json names ${id} as eos_token_id; ids go from 0 to ${vocabSize - 1}, so no text ends there. Correct the file.`,
    );
  if (eosToken !== undefined && tokenizer && tokenizer.tokenToId(eosToken) === undefined) {
    notes.push(
      `tokenizer_config.json names ${quote(eosToken)} as eos_token; tokenizer.json has no such token, so no text ends there. Name one of its tokens.`,
    );
  }
  return notes;
}
