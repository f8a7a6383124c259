/** HAProxy with the configuration that ships, at other addresses. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { repositoryPath } from '../repository.js';
import type { Program } from '../programs.js';
import { freePort, runProgram, startProgram, until } from '../programs.js';
import { MAX_SEQUENCES, type Replica } from './replica.js';

const SHIPPED = repositoryPath('deploy/haproxy/haproxy.cfg');

/** Replaces what must be there. */
function swap(text: string, pattern: RegExp, replacement: string): string {
  if (!pattern.test(text)) throw new Error(`haproxy.cfg has nothing like ${pattern}`);
  return text.replace(pattern, replacement);
}

type Place = Pick<Replica, 'name' | 'port' | 'agentPort'>;

/** The shipped configuration with these ports and replicas, and nothing else changed. */
function balancerConfig(
  replicas: readonly Place[],
  ports: { readonly api: number; readonly status: number },
): string {
  const servers = replicas.map(
    ({ name, port, agentPort }) => `    server ${name} 127.0.0.1:${port} agent-port ${agentPort}\n`,
  );
  let text = readFileSync(SHIPPED, 'utf8');
  text = swap(text, /^ {4}bind :8000$/m, `    bind 127.0.0.1:${ports.api}`);
  text = swap(text, /^ {4}bind :8404$/m, `    bind 127.0.0.1:${ports.status}`);
  text = text.replaceAll('abns@looplm-api', `abns@looplm-api-${ports.api}`);
  text = swap(text, /\bmaxconn 64 maxqueue\b/, `maxconn ${MAX_SEQUENCES} maxqueue`);
  return swap(text, /(?:^ {4}server replica-\d .*\n)+/m, servers.join(''));
}

/** Throws with HAProxy's words if it does not take the file. */
export function checkBalancerConfig(path: string = SHIPPED): void {
  runProgram('haproxy', ['-c', '-f', path]);
}

/** A server as the balancer sees it. */
export interface ServerState {
  readonly status: string;
  readonly weight: number;
  readonly numRequests: number;
}

/** A request as the balancer's log has it. */
export interface LoggedRequest {
  readonly id: string;
  readonly server: string;
  readonly status: number;
  /** Two letters: who ended it, and when; `--` for a normal end. */
  readonly end: string;
}

const LOG_LINE =
  / replicas\/(?<server>\S+) \S+ (?<status>-?\d+) \S+ \S+ \S+ (?<end>\S\S)\S\S \S+ \S+ \{(?<id>[^}]*)\}/g;

export class Balancer {
  readonly url: string;
  readonly statusPort: number;
  readonly #program: Program;

  private constructor(url: string, statusPort: number, program: Program) {
    this.url = url;
    this.statusPort = statusPort;
    this.#program = program;
  }

  /** Ready, and all replicas up, when this resolves. */
  static async start(replicas: readonly Replica[], folder: string): Promise<Balancer> {
    const ports = { api: await freePort(), status: await freePort() };
    const path = join(folder, 'haproxy.cfg');
    writeFileSync(path, balancerConfig(replicas, ports));
    checkBalancerConfig(path);
    const program = startProgram('haproxy', ['-db', '-f', path]);
    const balancer = new Balancer(`http://127.0.0.1:${ports.api}`, ports.status, program);
    for (const { name } of replicas) await balancer.untilUp(name);
    return balancer;
  }

  async servers(): Promise<ReadonlyMap<string, ServerState>> {
    const response = await fetch(`http://127.0.0.1:${this.statusPort}/;csv`);
    const [head = '', ...lines] = (await response.text()).trim().split('\n');
    const names = head.replace(/^# /, '').split(',');
    const rows = lines.map((line) => {
      const fields = line.split(',');
      return Object.fromEntries(names.map((name, index) => [name, fields[index] ?? '']));
    });
    const servers = rows.filter(
      ({ pxname, svname }) => pxname === 'replicas' && svname !== 'BACKEND',
    );
    return new Map(
      servers.map(({ svname = '', status = '', weight, stot }) => [
        svname,
        { status, weight: Number(weight), numRequests: Number(stot) },
      ]),
    );
  }

  async untilUp(name: string): Promise<void> {
    await until(`${name} is up: ${this.#program.output()}`, async () => {
      const state = (await this.servers()).get(name);
      return state?.status === 'UP' || undefined;
    });
  }

  /** The requests whose ids begin so, by id, as soon as so many are in the log. */
  async requests(prefix: string, count: number): Promise<ReadonlyMap<string, LoggedRequest>> {
    return until(`${count} requests ${prefix} in the log`, () => {
      const logged = this.#logged().filter(({ id }) => id.startsWith(prefix));
      return logged.length < count ? undefined : new Map(logged.map((one) => [one.id, one]));
    });
  }

  #logged(): readonly LoggedRequest[] {
    return [...this.#program.output().matchAll(LOG_LINE)].map(({ groups = {} }) => ({
      id: groups['id']!,
      server: groups['server']!,
      status: Number(groups['status']),
      end: groups['end']!,
    }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program.stop('SIGKILL');
  }
}
