/**
 * Servers for the clients, and what the library itself answers.
 *
 * A server is `looplm serve` as built, in a process of its own: nothing of it is seen but its wire.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const builtUrl = (path) => new URL(`../../../dist/${path}`, import.meta.url);
/** A module of looplm as built. */
export const built = (path) => import(builtUrl(path).href);

const { LoopLM } = await built('src/index.js');
const { bundledModelPath } = await built('src/platform/node/index.js');

export const MODEL = 'looplm-bundled';
/** Problems that the bundled model was trained for. */
export const PROBLEM = 'cup 3; swap 2 3; swap 1 5;';
export const LONGER = 'take 4; plus 7; times 3; minus 5; times 7; plus 9;';

const PROGRAM = fileURLToPath(builtUrl('bin/looplm.js'));

/** Starts `looplm serve` on a free port; ends when it is disposed. */
export async function startServer(flags = [], env = {}) {
  const child = spawn(
    process.env.LOOPLM_NODE ?? process.execPath,
    [PROGRAM, 'serve', '--port', '0', '--threads', '1', ...flags],
    { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } },
  );
  process.once('exit', () => child.kill());
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (log += text));
  const ended = once(child, 'close');
  const url = await new Promise((resolve, reject) => {
    createInterface(child.stdout).on('line', (line) => {
      const [, address] = /^looplm is ready: .* at (http:\S+)$/.exec(line) ?? [];
      if (address) resolve(address.replace(/\/$/, ''));
    });
    ended.then(([code]) => reject(new Error(`looplm serve ended with ${code}: ${log}`)));
  });
  return {
    url,
    /** A sample of /metrics, such as `vllm:num_requests_running`; 0 where there is none yet. */
    async metric(name, labels = '') {
      const text = await (await fetch(`${url}/metrics`)).text();
      const line = text
        .split('\n')
        .find((one) => one.startsWith(`${name}{`) && one.includes(labels));
      return Number(line?.split(' ').at(-1) ?? 0);
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

/** Waits until something holds, looking often. */
export async function until(holds) {
  for (let numLooks = 0; !(await holds()); numLooks += 1) {
    if (numLooks > 600) throw new Error(`waited in vain for ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The bundled model in this process. */
export async function openLibrary() {
  const model = await LoopLM.fromPretrained(bundledModelPath(), { numThreads: 1 });
  return {
    /** Tokens and end of an answer, without a server. */
    async answer(prompt, options = {}) {
      const tokens = [];
      for await (const event of model.generate(prompt, options)) {
        if (event.kind === 'finish') return { tokens, ...event };
        tokens.push(event);
      }
      throw new Error('an answer without an end');
    },
    encode: (text) => model.encode(text),
    [Symbol.asyncDispose]: () => model.dispose(),
  };
}
