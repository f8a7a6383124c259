/** Prometheus with the configuration that ships, at other addresses and scraping more often. */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { repositoryPath } from '../repository.js';
import type { Program } from '../programs.js';
import { freePort, runProgram, startProgram, untilAnswers } from '../programs.js';

const SHIPPED = repositoryPath('deploy/prometheus');

/** Throws with promtool's words if Prometheus would not take the files. */
export function checkPrometheusConfig(): void {
  runProgram('promtool', ['check', 'config', join(SHIPPED, 'prometheus.yml')]);
}

/** One series of an answer. */
export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

interface Answer<T> {
  readonly status: string;
  readonly error?: string;
  readonly data: T;
}

export class Prometheus {
  readonly #url: string;
  readonly #program: Program;

  private constructor(url: string, program: Program) {
    this.#url = url;
    this.#program = program;
  }

  /** Scrapes these ports of this machine; ready when this resolves. */
  static async start(
    ports: { readonly looplm: readonly number[]; readonly haproxy: readonly number[] },
    folder: string,
  ): Promise<Prometheus> {
    const home = join(folder, 'prometheus');
    mkdirSync(home);
    const targets = (list: readonly number[]) =>
      `targets: [${list.map((port) => `'127.0.0.1:${port}'`).join(', ')}]`;
    const text = readFileSync(join(SHIPPED, 'prometheus.yml'), 'utf8')
      .replace(/scrape_interval: .*/, 'scrape_interval: 500ms')
      .replace(/evaluation_interval: .*/, 'evaluation_interval: 500ms')
      .replaceAll(/targets: .*8080.*/g, targets(ports.looplm))
      .replaceAll(/targets: .*8404.*/g, targets(ports.haproxy));
    writeFileSync(join(home, 'prometheus.yml'), text);
    copyFileSync(join(SHIPPED, 'looplm.rules.yml'), join(home, 'looplm.rules.yml'));
    const port = await freePort();
    const program = startProgram('prometheus', [
      `--config.file=${join(home, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(home, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ]);
    await untilAnswers(program, () => fetch(`http://127.0.0.1:${port}/-/ready`));
    return new Prometheus(`http://127.0.0.1:${port}`, program);
  }

  async #ask<T>(path: string, parameters: Readonly<Record<string, string>>): Promise<T> {
    const query = new URLSearchParams(parameters);
    const response = await fetch(`${this.#url}/api/v1/${path}?${query.toString()}`);
    const { status, error, data } = (await response.json()) as Answer<T>;
    if (status !== 'success') throw new Error(`${JSON.stringify(parameters)}: ${error}`);
    return data;
  }

  /** What a query gives now. @throws if Prometheus does not take it */
  async query(query: string): Promise<readonly Series[]> {
    type Result = { metric: Record<string, string>; value: [time: number, value: string] };
    const { result } = await this.#ask<{ result: Result[] }>('query', { query });
    return result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
  }

  /** Names of all metrics that it has. */
  async metricNames(): Promise<readonly string[]> {
    return this.#ask<string[]>('label/__name__/values', {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program.stop('SIGKILL');
  }
}
