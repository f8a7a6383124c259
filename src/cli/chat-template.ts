/**
 * `--chat-template`: a ChatML template by name, or a Jinja file.
 */
import type { LoopLM } from '../loop-lm.js';
import { fileExists, readTextFile } from '../platform/node/index.js';
import { ConfigError, FileError } from '../errors.js';
import { CHATML_TEMPLATES, ChatTemplate } from '../tokenizer/index.js';

const NAMED: Readonly<Record<string, string>> = {
  chatml: CHATML_TEMPLATES.base,
  'chatml-corrected': CHATML_TEMPLATES.corrected,
};

/** The names that stand for a template, for help and messages. */
export const CHAT_TEMPLATE_NAMES = Object.keys(NAMED).join(' or ');

/**
 * The template that the flag means; it sees the special tokens of the model.
 *
 * @throws FileError or ConfigError if it is neither a name nor a file with a template.
 */
export async function chatTemplateOf(flag: string, model: LoopLM): Promise<ChatTemplate> {
  const named = NAMED[flag];
  if (named !== undefined) return new ChatTemplate(named, model.tokenizerConfig);
  if (!(await fileExists(flag))) {
    throw new FileError(
      flag,
      `--chat-template is ${flag}, which is no file; give ${CHAT_TEMPLATE_NAMES}, or the path of a Jinja template.`,
    );
  }
  const source = await readTextFile(flag);
  try {
    return new ChatTemplate(source, model.tokenizerConfig);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(error.field, `${flag}: ${error.message}`, { cause: error });
  }
}
