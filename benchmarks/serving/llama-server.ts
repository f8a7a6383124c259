/**
 * llama.cpp as a server, by node-llama-cpp: `llama-server.js GGUF THREADS`.
 *
 * A sequence for each request, which llama.cpp runs together in batches as they have something to run;
 * the best token is picked in native code. Answers as the load reads them: a chunk for each token.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { evaluateNext, erase, type LlamaSequence, loadLlama } from '../llama-cpp/node-llama-cpp.js';

const NUM_SEQUENCES = 16;
/** Positions of all sequences together. */
const CONTEXT = NUM_SEQUENCES * 256;
const BATCH_SIZE = 512;

interface Body {
  readonly prompt: readonly number[];
  readonly max_tokens: number;
}

const [path, threads] = process.argv.slice(2);
const numThreads = Number(threads);
const { llama } = await loadLlama(numThreads);
const model = await llama.loadModel({ modelPath: path!, gpuLayers: 0 });
const context = await model.createContext({
  contextSize: CONTEXT,
  sequences: NUM_SEQUENCES,
  batchSize: BATCH_SIZE,
  flashAttention: true,
  threads: { ideal: numThreads, min: numThreads },
});
const free: LlamaSequence[] = Array.from({ length: NUM_SEQUENCES }, () => context.getSequence());
const waiting: ((sequence: LlamaSequence) => void)[] = [];

const take = async (): Promise<LlamaSequence> =>
  free.pop() ?? new Promise<LlamaSequence>((resolve) => waiting.push(resolve));

function give(sequence: LlamaSequence): void {
  const next = waiting.shift();
  if (next) next(sequence);
  else free.push(sequence);
}

async function* tokensOf({ prompt, max_tokens: numTokens }: Body): AsyncGenerator<number> {
  const sequence = await take();
  try {
    let tokens = prompt;
    for (let n = 0; n < numTokens; n += 1) {
      const next = await evaluateNext(sequence, tokens);
      yield next;
      tokens = [next];
    }
  } finally {
    await erase(sequence, 0);
    give(sequence);
  }
}

const server = createServer((request, response) => {
  void (async () => {
    let text = '';
    for await (const bytes of request) text += String(bytes);
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for await (const token of tokensOf(JSON.parse(text) as Body)) {
      response.write(`data: ${JSON.stringify({ choices: [{ token_ids: [token] }] })}\n\n`);
    }
    response.end('data: [DONE]\n\n');
  })();
});
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  process.stdout.write(`llama.cpp is ready at http://127.0.0.1:${port}\n`);
});
process.once('SIGTERM', () => process.exit(0));
