/** The servers that are measured, each a process of its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { resolve as pathOf } from 'node:path';

export interface ServerProcess extends AsyncDisposable {
  readonly url: string;
}

const READY = /ready.*?(http:\S+)/;

async function start(argv: readonly string[]): Promise<ServerProcess> {
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'ignore'] });
  const exited = once(child, 'exit');
  const lines = createInterface({ input: child.stdout });
  const url = await new Promise<string>((resolve, reject) => {
    // its output is read to the end, or it would be closed and the server with it
    lines.on('line', (line) => {
      const address = READY.exec(line)?.[1];
      if (address !== undefined) resolve(address);
    });
    lines.once('close', () => reject(new Error(`${argv.join(' ')} ended before it was ready`)));
  });
  return {
    url,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await exited;
    },
  };
}

/** @param model - folder; the bundled model without one */
export function startLooplm(model: string | undefined, numThreads: number): Promise<ServerProcess> {
  const named = model === undefined ? [] : ['--model', model];
  const fixed = ['--port', '0', '--threads', String(numThreads)];
  return start([pathOf('dist', 'bin', 'looplm.js'), 'serve', ...fixed, ...named]);
}

/** llama.cpp behind the same route, as far as the load goes. */
export function startLlama(path: string, numThreads: number): Promise<ServerProcess> {
  const program = pathOf('dist', 'benchmarks', 'serving', 'llama-server.js');
  return start([program, path, String(numThreads)]);
}
