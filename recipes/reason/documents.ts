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
import type { Piece, Problem, Reply, Turn } from './problem.js';
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
}

const CHAT_FRACTION = 0.6;
const LOWER_FRACTION = 0.15;

export const drawWriting = (rng: RandomGenerator, { isPlain = false }: Problem): Writing => ({
  form: !isPlain && chance(rng, CHAT_FRACTION) ? 'chat' : 'plain',
  isLower: !isPlain && chance(rng, LOWER_FRACTION),
});

/** What is labelled. */
export interface Labelling {
  /** `all`: running answers and whole replies; `answers`: the answers of the replies alone. */
  readonly labels: 'all' | 'answers';
  /** Part of the other tokens that are labelled with the token after them. */
  readonly nextTokenFraction?: number;
}

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

  /** @param rng - chooses tokens to label where the labelling leaves that to chance */
  document(
    { turns }: Problem,
    { form, isLower }: Writing,
    { labels, nextTokenFraction = 0 }: Labelling,
    rng?: RandomGenerator,
  ): TrainingDocument {
    const text = new Builder(this.#encode);
    turns.forEach((turn, index) => {
      if (form === 'chat') text.add('<|im_start|>user\n');
      else if (index > 0) text.add('\n');
      for (const piece of turn.asked) addPiece(text, piece, isLower, labels === 'all');
      if (form === 'chat') text.add('<|im_end|>\n<|im_start|>assistant\n');
      addReply(text, turn.reply, form, labels);
      if (labels === 'all') text.label(oneToken(form === 'chat' ? '<|im_end|>' : '<|endoftext|>', this.#encode));
      if (form === 'chat' && index < turns.length - 1) text.add('<|im_end|>\n');
    });
    const { ids, targets } = text;
    if (nextTokenFraction > 0 && rng) {
      for (let index = 0; index < ids.length - 1; index++) {
        if (targets[index] === IGNORED_TARGET && chance(rng, nextTokenFraction)) {
          targets[index] = ids[index + 1]!;
        }
      }
    }
    return { ids, targets };
  }

  /** The prompt of the first turn, as a request sends it, and the reply's first tokens. */
  prompt({ asked }: Turn, { form, isLower }: Writing): readonly number[] {
    const text = new Builder(this.#encode);
    if (form === 'chat') text.add('<|im_start|>user\n');
    for (const piece of asked) addPiece(text, piece, isLower, false);
    if (form === 'chat') text.add('<|im_end|>\n<|im_start|>assistant\n');
    return text.ids;
  }
}

function addPiece(text: Builder, piece: Piece, isLower: boolean, hasRunning: boolean): void {
  const written = isLower ? piece.text.toLowerCase() : piece.text;
  text.add(written, hasRunning ? piece.running : undefined);
}

function addReply(
  text: Builder,
  { before, answer, after }: Reply,
  form: Form,
  labels: Labelling['labels'],
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
