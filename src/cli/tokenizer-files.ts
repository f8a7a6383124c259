/**
 * The tokenizer of a folder together with its files, for what is written beside weights and tokens.
 */
import { createHash } from 'node:crypto';
import type { TextFiles } from '../text/index.js';
import { loadTextFiles } from '../text/index.js';
import type { Tokenizer } from '../tokenizer/index.js';
import type { Folder } from '../util/folder.js';

/** A tokenizer, and the files that it is made of. */
export interface TokenizerFiles {
  readonly tokenizer: Tokenizer | undefined;
  /** Token that ends a text. */
  readonly endOfTextId: number | undefined;
  /** What the files hold. */
  readonly texts: TextFiles | undefined;
  /** Text by file name. */
  readonly files: Readonly<Record<string, string>>;
  /** Of tokenizer.json, shortened. */
  readonly sha256: string | undefined;
}

const TOKENIZER_FILES = ['tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja'] as const;

/** @throws LoopLMError if a file is damaged */
export async function readTokenizerFiles(folder: Folder): Promise<TokenizerFiles> {
  const texts = await loadTextFiles(folder);
  const { tokenizer, tokenizerConfig } = texts;
  const files: Record<string, string> = {};
  for (const file of TOKENIZER_FILES) {
    if (await folder.exists(file)) files[file] = await folder.readText(file);
  }
  const json = files['tokenizer.json'];
  return {
    tokenizer,
    endOfTextId: tokenizer?.tokenToId(tokenizerConfig.eosToken ?? '<|endoftext|>'),
    texts,
    files,
    sha256: json && createHash('sha256').update(json).digest('hex').slice(0, 16),
  };
}
