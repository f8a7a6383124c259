/**
 * From problems to training documents: a chat or plain text, with labels where something is to be said.
 *
 * Running answers are the targets of the last token of their piece, although the text goes on; every
 * token of a reply is the target of the one before it. Does not know which problems there are.
 */
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import type { TrainingDocument } from 'looplm/data';
import { IGNORED_TARGET } from 'looplm/data';
import { ConfigError } from 'looplm/errors';
import type { Problem, Reply, Turn } from './problem.js';
import { replyText } from './problem.js';
import { chance } from './random.js';

/** Text to token ids; special tokens become one id. */
export type Encode = (text: string) => readonly number[];

/** `chat` is the model's template; `plain` is the text alone, as a prompt is typed. */
export type Form = 'chat' | 'plain';

/** How a problem is written down. */
export interface Writing {
  readonly form: Form;
  /** Nothing of what is asked has a capital. */
  readonly isLower: boolean;
  /** It ends without a sign. */
  readonly isOpen?: boolean;
}

const CHAT_FRACTION = 0.6;
const LOWER_FRACTION = 0.15;
/** Of the chats. */
const OPEN_FRACTION = 0.1;

export function drawWriting(
  rng: RandomGenerator,
  { isPlain = false, isChat = false }: Problem,
): Writing {
  const form = isChat || (!isPlain && chance(rng, CHAT_FRACTION)) ? 'chat' : 'plain';
  return {
    form,
    isLower: !isPlain && chance(rng, LOWER_FRACTION),
    isOpen: form === 'chat' && chance(rng, OPEN_FRACTION),
  };
}

/** What is labelled: running answers and whole replies, or the answers of the replies alone. */
export type Labels = 'all' | 'answers';

/** A text as it is built: tokens, and what each is to predict. */
class Builder {
  readonly ids: number[] = [];
  readonly targets: number[] = [];
  readonly #encode: Encode;

  constructor(encode: Encode) {
    this.#encode = encode;
  }

  /** Adds text; `running` is the label of its last token. */
  add(text: string, running?: string): void {
    for (const id of this.#encode(text)) {
      this.ids.push(id);
      this.targets.push(IGNORED_TARGET);
    }
    if (running !== undefined) this.label(oneToken(running, this.#encode));
  }

  /** Adds tokens that the ones before them predict. */
  addLabelled(text: string): void {
    for (const id of this.#encode(text)) {
      if (this.ids.length > 0) this.label(id);
      this.ids.push(id);
      this.targets.push(IGNORED_TARGET);
    }
  }

  label(id: number): void {
    this.targets[this.targets.length - 1] = id;
  }
}

/** Writes problems down for one tokenizer. */
export class Scribe {
  readonly #encode: Encode;

  constructor(encode: Encode) {
    this.#encode = remembered(encode);
  }

  document({ turns }: Pick<Problem, 'turns'>, writing: Writing, labels: Labels): TrainingDocument {
    const text = new Builder(this.#encode);
    turns.forEach((turn, index) => {
      if (index > 0) text.add(between(writing));
      addAsked(text, turn, writing, labels);
      addReply(text, turn.reply, writing, labels);
      if (labels === 'all') {
        const end = writing.form === 'chat' ? '<|im_end|>' : '<|endoftext|>';
        text.label(oneToken(end, this.#encode));
      }
    });
    return { ids: text.ids, targets: text.targets };
  }

  /** The last question as a request sends it, after what was said before. */
  prompt(turns: readonly Turn[], writing: Writing): readonly number[] {
    const text = new Builder(this.#encode);
    turns.forEach((turn, index) => {
      if (index > 0) text.add(between(writing));
      addAsked(text, turn, writing, 'answers');
      if (index < turns.length - 1) addReply(text, turn.reply, writing, 'answers');
    });
    return text.ids;
  }
}

/** From a reply to the next question. */
const between = ({ form }: Writing): string => (form === 'chat' ? '<|im_end|>\n' : '\n');

function addAsked(
  text: Builder,
  { asked }: Turn,
  { form, isLower, isOpen = false }: Writing,
  labels: Labels,
): void {
  if (form === 'chat') text.add('<|im_start|>user\n');
  asked.forEach((piece, index) => {
    const written = isLower ? piece.text.toLowerCase() : piece.text;
    const isEnd = isOpen && index === asked.length - 1;
    text.add(
      isEnd ? written.replace(/[?.]$/, '') : written,
      labels === 'all' ? piece.running : undefined,
    );
  });
  if (form === 'chat') text.add('<|im_end|>\n<|im_start|>assistant\n');
}

function addReply(
  text: Builder,
  { before, answer, after }: Reply,
  { form }: Writing,
  labels: Labels,
): void {
  const [first, second] = form === 'plain' ? plain(before, answer) : [before, answer];
  if (labels === 'all') {
    text.addLabelled(first);
    text.addLabelled(second);
    text.addLabelled(after);
  } else {
    text.add(first);
    text.addLabelled(second);
    text.add(after);
  }
}

/** In plain text a space parts the reply from the question. */
const plain = (before: string, answer: string): readonly [string, string] =>
  before === '' ? ['', ` ${answer}`] : [` ${before}`, answer];

/** A reply as it stands in a text. */
export const plainOrChat = (reply: Reply, { form }: Writing): string =>
  form === 'plain' ? ` ${replyText(reply)}` : replyText(reply);

function oneToken(text: string, encode: Encode): number {
  const ids = encode(text);
  if (ids.length === 1) return ids[0]!;
  throw new ConfigError(
    'encode',
    `"${text}" becomes ${ids.length} tokens; it must be exactly 1. Add it to the words of its task.`,
  );
}

/** Pieces come again and again. */
function remembered(encode: Encode): Encode {
  const known = new Map<string, readonly number[]>();
  return (text) => {
    let ids = known.get(text);
    if (ids === undefined) {
      ids = encode(text);
      if (known.size < 200_000) known.set(text, ids);
    }
    return ids;
  };
}
