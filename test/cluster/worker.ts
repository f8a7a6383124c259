/** A machine of a run, as a process: started, watched, stopped in any way. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Program } from '../programs.js';
import { startProgram, until } from '../programs.js';
import { repositoryPath } from '../repository.js';

const MAIN = repositoryPath('dist/bin/looplm.js');

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

export class Worker {
  readonly #options: WorkerOptions;
  #program: Program;

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#program = this.#start();
  }

  #start(): Program {
    const { folder, address, config, name, inside = [] } = this.#options;
    const file = join(folder, `${name}.json`);
    writeFileSync(file, JSON.stringify(config));
    const command = [
      ...inside,
      process.execPath,
      MAIN,
      'train',
      '--config',
      file,
      '--join',
      address,
      '--out',
      this.out,
      '--threads',
      '1',
    ];
    return startProgram(command[0]!, command.slice(1));
  }

  get out(): string {
    return join(this.#options.folder, this.#options.name);
  }

  /** What it has written since it was started last. */
  output(): string {
    return this.#program.output();
  }

  /** Waits until it says something; fails if it ends before. */
  async says(pattern: RegExp): Promise<void> {
    const program = this.#program;
    let hasEnded = false;
    void program.ended.then(() => (hasEnded = true));
    const text = await until(
      `${this.#options.name} to say ${pattern}`,
      () => (pattern.test(program.output()) || hasEnded ? program.output() : undefined),
      120_000,
    );
    if (!pattern.test(text)) throw new Error(`${this.#options.name} ended: ${text}`);
  }

  /** Waits until it has done so many train steps. */
  reaches(trainStep: number): Promise<void> {
    return this.says(new RegExp(`train step ${trainStep} of`));
  }

  signal(signal: NodeJS.Signals): void {
    this.#program.child.kill(signal);
  }

  async kill(): Promise<void> {
    await this.#program.stop('SIGKILL');
  }

  /** Runs the same command again. */
  restart(): void {
    this.#program = this.#start();
  }

  /** Its exit code. */
  get ended(): Promise<number | null> {
    return this.#program.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  /** Digest of the model that it has come to; undefined if there is none. */
  modelDigest(): string | undefined {
    const path = join(this.out, 'model.safetensors');
    if (!existsSync(path)) return undefined;
    return createHash('sha256').update(readFileSync(path)).digest('hex');
  }

  /** Loss on held-out data at full depth, after the last train step. */
  finalLoss(): number {
    const lines = readFileSync(join(this.out, 'metrics.jsonl'), 'utf8').trim().split('\n');
    const last = lines.map((line) => JSON.parse(line) as Evaluated).findLast((it) => it.evaluation);
    return last?.evaluation?.validationLossByDepth.at(-1) ?? NaN;
  }
}

interface Evaluated {
  readonly evaluation?: { readonly validationLossByDepth: readonly number[] };
}
