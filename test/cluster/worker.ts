/** A machine that trains together with others. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Machine, metricsOf, modelDigest } from './machine.js';

export interface WorkerOptions {
  readonly folder: string;
  readonly address: string;
  /** Of the run; its file is written into the folder. */
  readonly config: object;
  readonly name: string;
  /** What the command is an argument of, such as `ip netns exec NAME`. */
  readonly inside?: readonly string[];
}

/** Documents whose next token can be learnt. */
export function writeData(folder: string): void {
  const lines = Array.from({ length: 400 }, (_, n) => {
    const ids = Array.from({ length: 24 }, (_item, i) => (n + i * (1 + (n % 3))) % 31);
    return JSON.stringify({ ids, targets: [...ids.slice(1), -100] });
  });
  writeFileSync(join(folder, 'data.jsonl'), `${lines.join('\n')}\n`);
}

export class Worker extends Machine {
  readonly #out: string;

  constructor({ folder, address, config, name, inside }: WorkerOptions) {
    const [file, out] = [join(folder, `${name}.json`), join(folder, name)];
    writeFileSync(file, JSON.stringify(config));
    super(name, ['train', '--config', file, '--join', address, '--out', out], inside);
    this.#out = out;
  }

  /** Digest of the model that it has come to; undefined if there is none. */
  modelDigest(): string | undefined {
    return modelDigest(this.#out);
  }

  /** Loss on held-out data at full depth, after the last train step. */
  finalLoss(): number {
    const last = metricsOf(this.#out).findLast((it) => (it as Evaluated).evaluation) as Evaluated;
    return last?.evaluation?.validationLossByDepth.at(-1) ?? NaN;
  }
}

interface Evaluated {
  readonly evaluation?: { readonly validationLossByDepth: readonly number[] };
}
