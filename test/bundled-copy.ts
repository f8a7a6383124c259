/** Copies of the bundled model that differ in some text files. */
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tokenizerFiles } from '../recipes/bundled/tokenizer.js';
import { repositoryPath } from './repository.js';

/**
 * The tokenizer of the bundled model for models that hold no conversations: without its chat template, and
 * with the end of the text as its only end.
 */
const { chat_template: _, ...settings } = JSON.parse(
  tokenizerFiles()['tokenizer_config.json']!,
) as Record<string, unknown>;

/** Text by file name. */
export const PLAIN_TOKENIZER_FILES = {
  'tokenizer.json': tokenizerFiles()['tokenizer.json']!,
  'tokenizer_config.json': JSON.stringify({ ...settings, eos_token: '<|endoftext|>' }),
};

const MODEL_FILES = ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'];

/** The bundled model at another path, with some text files changed or added; returns the path. */
export function copyOfBundled(path: string, files: Readonly<Record<string, string>> = {}): string {
  mkdirSync(path, { recursive: true });
  for (const file of MODEL_FILES) {
    cpSync(join(repositoryPath('models/bundled'), file), join(path, file));
  }
  for (const [file, text] of Object.entries(files)) writeFileSync(join(path, file), text);
  return path;
}
