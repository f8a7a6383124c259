/**
 * The files of a model folder that are about text: tokenizer, chat template, how to sample and where
 * to stop. Each of them may be missing. Knows no weights and computes nothing.
 */
import type { LoopLMConfig } from '../model/index.js';
import type {
  GenerationConfig,
  StopToken,
  StopTokenFiles,
  TokenizerConfig,
} from '../tokenizer/index.js';
import {
  ChatTemplate,
  Tokenizer,
  parseGenerationConfig,
  parseTokenizerConfig,
  stopTokenNotes,
  stopTokens,
} from '../tokenizer/index.js';
import type { Folder } from '../util/folder.js';
import { readJson } from '../util/folder.js';

/** What the text files of a folder hold. */
export interface TextFiles {
  readonly tokenizer: Tokenizer | undefined;
  /** chat_template.jinja, or else the template in tokenizer_config.json. */
  readonly chatTemplate: ChatTemplate | undefined;
  /** Empty without the file, and so is `generationConfig`. */
  readonly tokenizerConfig: TokenizerConfig;
  readonly generationConfig: GenerationConfig;
}

/**
 * The tokenizer of a model folder; undefined if it has none.
 *
 * @throws LoopLMError if tokenizer.json is damaged or no BPE over bytes.
 */
export async function loadTokenizer(folder: Folder): Promise<Tokenizer | undefined> {
  const json = await readJsonIfThere(folder, 'tokenizer.json');
  return json === undefined ? undefined : Tokenizer.fromJson(json);
}

/** How a model wants its tokens drawn, and which of them end a text. */
export const GENERATION_CONFIG_FILE = 'generation_config.json';

/** @throws LoopLMError if a file is damaged */
export async function loadTextFiles(folder: Folder): Promise<TextFiles> {
  const tokenizer = await loadTokenizer(folder);
  const tokenizerConfig = parseTokenizerConfig(
    (await readJsonIfThere(folder, 'tokenizer_config.json')) ?? {},
  );
  const template = (await readText(folder, 'chat_template.jinja')) ?? tokenizerConfig.chatTemplate;
  return {
    tokenizer,
    chatTemplate: template === undefined ? undefined : new ChatTemplate(template, tokenizerConfig),
    tokenizerConfig,
    generationConfig: parseGenerationConfig(
      (await readJsonIfThere(folder, GENERATION_CONFIG_FILE)) ?? {},
    ),
  };
}

/** Tokens that end a text of a model with these files. */
export function stopTokensOf(files: TextFiles, config: StopTokenConfig): StopToken[] {
  return stopTokens(stopTokenFiles(files, config));
}

/** What one should know of the files that name such tokens, in sentences. */
export function stopTokenNotesOf(files: TextFiles, config: StopTokenConfig): string[] {
  return stopTokenNotes(stopTokenFiles(files, config));
}

type StopTokenConfig = Pick<LoopLMConfig, 'vocabSize' | 'eosTokenIds'>;

function stopTokenFiles(files: TextFiles, config: StopTokenConfig): StopTokenFiles {
  return {
    vocabSize: config.vocabSize,
    configIds: config.eosTokenIds,
    generationIds: files.generationConfig.eosTokenIds,
    eosToken: files.tokenizerConfig.eosToken,
    chatTemplate: files.chatTemplate,
    tokenizer: files.tokenizer,
  };
}

async function readText(folder: Folder, name: string): Promise<string | undefined> {
  return (await folder.exists(name)) ? folder.readText(name) : undefined;
}

async function readJsonIfThere(folder: Folder, name: string): Promise<unknown> {
  return (await folder.exists(name)) ? readJson(folder, name) : undefined;
}
