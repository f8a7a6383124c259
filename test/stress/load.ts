/**
 * `npm run stress:load -- --requests 1000`: so many requests at once to a server of the bundled model, in a
 * process of its own. None may be lost; prints when first tokens came, and how long after each other.
 */
import { spawn } from 'node:child_process';
import { readFlags } from '../flags.js';
import { repositoryPath } from '../repository.js';
import { sseEvents } from '../serve/sse.js';

const { requests: count, tokens: maxTokens } = readFlags({ requests: 1000, tokens: 32 });
const print = (line: string) => void process.stdout.write(`${line}\n`);

const child = spawn(
  process.execPath,
  [repositoryPath('dist/src/cli/main.js'), 'serve', '--port', '0'],
  { stdio: ['ignore', 'pipe', 'ignore'] },
);
let line = '';
for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
  line += chunk.toString();
  if (line.includes('\n')) break;
}
const url = / at (http:\S+)/.exec(line)![1]!;

interface Timing {
  readonly firstMs: number;
  readonly gapsMs: readonly number[];
}

/** One request, streamed. @throws if it does not get all that it asked for */
async function ask(index: number): Promise<Timing> {
  const start = performance.now();
  const response = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      prompt: `take ${index % 10}; plus ${index % 7}; times ${index % 5};`,
      max_tokens: maxTokens,
      ignore_eos: true,
      stream: true,
    }),
  });
  if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`);
  const at: number[] = [];
  let isDone = false;
  for await (const { data } of sseEvents(response)) {
    if (data === '[DONE]') isDone = true;
    else at.push(performance.now() - start);
  }
  // the last chunk is the end, and no token
  if (!isDone || at.length !== maxTokens + 1) throw new Error(`${at.length} chunks`);
  const tokens = at.slice(0, -1);
  return { firstMs: tokens[0]!, gapsMs: tokens.slice(1).map((ms, gap) => ms - tokens[gap]!) };
}

function quantiles(numbers: readonly number[]): string {
  const sorted = numbers.toSorted((a, b) => a - b);
  const at = (part: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]!;
  return [0.5, 0.9, 0.99]
    .map((part) => `p${100 * part} ${Math.round(10 * at(part)) / 10} ms`)
    .join(', ');
}

const start = performance.now();
const results = await Promise.allSettled(Array.from({ length: count }, async (_, at) => ask(at)));
const seconds = (performance.now() - start) / 1000;
const done = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
const lost = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
for (const reason of lost.slice(0, 5)) print(`lost: ${String(reason)}`);
print(
  `${count} requests of ${maxTokens} tokens at once: ${lost.length} lost, ${seconds.toFixed(1)} s`,
);
print(`${Math.round((done.length * maxTokens) / seconds)} tokens/s`);
print(`first token     ${quantiles(done.map(({ firstMs }) => firstMs))}`);
print(`between tokens  ${quantiles(done.flatMap(({ gapsMs }) => gapsMs))}`);
child.kill('SIGTERM');
process.exitCode = lost.length === 0 ? 0 : 1;
