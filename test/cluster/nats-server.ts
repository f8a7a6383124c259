/** A NATS server that keeps its streams on disk, started, killed and started again. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Program } from '../programs.js';
import { freePort, startProgram, until } from '../programs.js';

export interface NatsServerOptions {
  /** For its files. */
  readonly folder: string;
  /** More lines of its configuration. */
  readonly settings?: string;
  /** Default: with it, in a folder of its own. */
  readonly jetStream?: string;
  readonly host?: string;
  /** What the command is an argument of, such as `ip netns exec NAME`. */
  readonly inside?: readonly string[];
}

export class NatsServer {
  readonly port: number;
  readonly host: string;
  readonly #command: readonly string[];
  #program: Program | undefined;

  private constructor(port: number, host: string, command: readonly string[]) {
    this.port = port;
    this.host = host;
    this.#command = command;
  }

  static async start(options: NatsServerOptions): Promise<NatsServer> {
    const { folder, settings = '', host = '127.0.0.1', inside = [] } = options;
    const port = await freePort();
    const place = join(folder, `nats-${port}`);
    const { jetStream = `jetstream { store_dir: ${JSON.stringify(join(place, 'store'))} }` } =
      options;
    mkdirSync(place);
    const config = join(place, 'server.conf');
    writeFileSync(config, `listen: "${host}:${port}"\n${jetStream}\n${settings}\n`);
    const server = new NatsServer(port, host, [...inside, 'nats-server', '--config', config]);
    await server.start();
    return server;
  }

  /** The address of a run. */
  run(name: string): string {
    return `nats://${this.host}:${this.port}/${name}`;
  }

  /** Starts it again, on what it has on disk. */
  async start(): Promise<void> {
    const [name, ...words] = this.#command;
    const program = startProgram(name!, words);
    this.#program = program;
    let hasEnded = false;
    void program.ended.then(() => (hasEnded = true));
    await until(
      'the NATS server',
      () => hasEnded || program.output().includes('Server is ready') || undefined,
    );
    if (hasEnded) throw new Error(`nats-server ended: ${program.output()}`);
  }

  async kill(): Promise<void> {
    await this.#program?.stop('SIGKILL');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}
