/** A replica: `looplm serve` with the bundled model, as a process of its own. */
import { repositoryPath } from '../repository.js';
import { freePort, startProgram, untilAnswers } from '../programs.js';
import type { Program } from '../programs.js';

export const MAX_SEQUENCES = 8;

/** Where a replica is; it may end and begin again there. */
export class Replica {
  readonly name: string;
  readonly port: number;
  readonly agentPort: number;
  #program: Program | undefined;
  /** What earlier processes wrote. */
  #earlier = '';

  private constructor(name: string, port: number, agentPort: number) {
    this.name = name;
    this.port = port;
    this.agentPort = agentPort;
  }

  static async start(name: string): Promise<Replica> {
    const replica = new Replica(name, await freePort(), await freePort());
    await replica.start();
    return replica;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Ready when this resolves. */
  async start(): Promise<void> {
    const flags = {
      port: this.port,
      'agent-port': this.agentPort,
      'max-sequences': MAX_SEQUENCES,
      threads: 1,
    };
    const program = startProgram(process.execPath, [
      repositoryPath('dist/bin/looplm.js'),
      'serve',
      ...Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, String(value)]),
    ]);
    this.#program = program;
    await untilAnswers(program, () => fetch(`${this.url}/ready`));
  }

  /** Ends it; how, depends on the signal. */
  async stop(signal: NodeJS.Signals): Promise<number | null> {
    const program = this.#program;
    if (!program) return null;
    const code = await program.stop(signal);
    this.#earlier += program.output();
    this.#program = undefined;
    return code;
  }

  /** Ids of the requests that it answered to the end, as its log has them. */
  answered(): readonly string[] {
    const lines = (this.#earlier + (this.#program?.output() ?? '')).split('\n');
    return lines.flatMap((line) => {
      if (!line.startsWith('{')) return [];
      const entry = JSON.parse(line) as { msg: string; requestId: string; ended?: string[] };
      return entry.msg === 'generation' && (entry.ended?.length ?? 0) > 0 ? [entry.requestId] : [];
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('SIGKILL');
  }
}
