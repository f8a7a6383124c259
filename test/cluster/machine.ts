/** A machine of a run, as a process of `looplm`: started, watched, stopped in any way. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Program } from '../programs.js';
import { startProgram, until } from '../programs.js';
import { repositoryPath } from '../repository.js';

const MAIN = repositoryPath('dist/bin/looplm.js');

export class Machine {
  readonly #name: string;
  readonly #command: readonly string[];
  #program: Program;

  /**
   * @param words - of `looplm`
   * @param inside - what the command is an argument of, such as `ip netns exec NAME`
   */
  constructor(name: string, words: readonly string[], inside: readonly string[] = []) {
    this.#name = name;
    this.#command = [...inside, process.execPath, MAIN, ...words, '--threads', '1'];
    this.#program = this.#start();
  }

  #start(): Program {
    return startProgram(this.#command[0]!, this.#command.slice(1));
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
      `${this.#name} to say ${pattern}`,
      () => (pattern.test(program.output()) || hasEnded ? program.output() : undefined),
      120_000,
    );
    if (!pattern.test(text)) throw new Error(`${this.#name} ended: ${text}`);
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
}

/** Digest of the model that a run has come to; undefined if there is none. */
export function modelDigest(out: string): string | undefined {
  const path = join(out, 'model.safetensors');
  if (!existsSync(path)) return undefined;
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

/** The records of metrics of a run. */
export function metricsOf(out: string): readonly unknown[] {
  const lines = readFileSync(join(out, 'metrics.jsonl'), 'utf8').trim().split('\n');
  return lines.map((line) => JSON.parse(line) as unknown);
}
