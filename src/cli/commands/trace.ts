/**
 * `looplm trace`: everything that full depth computes for a prompt, as a safetensors file.
 */
import type { Command } from 'commander';
import type { Trace } from '../../engine/index.js';
import type { LoopLM } from '../../loop-lm.js';
import { safetensorsChunks } from '../../runtime/index.js';
import { openLateProgress } from '../byte-progress.js';
import { printable } from '../../util/quote.js';
import type { CliIo } from '../io.js';
import { interruptible } from '../io.js';
import type { ModelFlags } from '../model-flags.js';
import { addEngineFlags, withModel } from '../model-flags.js';
import { FORCE_HELP, openOutput, safetensorsKind } from '../output-file.js';
import { parseCount } from '../parse-flags.js';
import type { PromptFlags } from '../prompt-flags.js';
import { addPromptFlags, promptOf } from '../prompt-flags.js';
import { table } from '../table.js';

type Flags = ModelFlags &
  PromptFlags & {
    readonly out: string;
    readonly force?: true;
    readonly numLoops?: number;
    readonly json?: true;
  };

const TRACE_FORMAT = 'looplm-trace';
const TRACE = safetensorsKind('a trace', TRACE_FORMAT);

const EXAMPLES = `
The file holds float32 tensors: hidden [R, T, D], logits [R, T, V], and gate_logits, exit_pdf,
exit_cdf [R, T], for R loops and T tokens; gate_logits are before the sigmoid. A model without an exit
gate has no gate_logits, and exit_pdf is 1 at the last loop.

Examples:
  looplm trace --prompt 'The ball is under cup 3. Swap cups 2 and 3. Where is the ball?' --out trace.safetensors
  looplm trace --model ./my-model --ids 5,9,2 --num-loops 8 --out trace.safetensors --json
`;

export function registerTrace(program: Command, io: CliIo): void {
  const command = program
    .command('trace')
    .description('write states, gates and logits of every loop for a prompt')
    .addHelpText('after', EXAMPLES);
  addPromptFlags(addEngineFlags(command))
    .requiredOption('--out <file>', 'safetensors file to write')
    .option('--force', FORCE_HELP)
    .option('--num-loops <n>', "loops to run (default: the model's)", parseCount)
    .option('--json', 'print one JSON object instead of the table')
    .action(async (flags: Flags) => {
      const prompt = await promptOf(flags, io);
      const output = await openOutput(flags.out, TRACE, flags);
      await withModel(flags, io, async (model, signal) => {
        const ids = model.encode(prompt);
        const trace = await traceShown(model, ids, flags, signal, io);
        await interruptible(io, (whileWriting) =>
          output.write(traceFile(trace, ids, model), whileWriting),
        );
        const text = flags.json ? jsonOf(trace, ids, flags.out) : tableOf(trace, ids, model);
        io.stdout.write(`${text}\n`);
        if (!flags.json) io.stderr.write(`written: ${printable(flags.out)}\n`);
      });
    });
}

async function traceShown(
  model: LoopLM,
  ids: readonly number[],
  { numLoops }: Flags,
  signal: AbortSignal,
  io: CliIo,
): Promise<Trace> {
  const progress = openLateProgress(io, 'tracing', '');
  try {
    return await model.trace(ids, { numLoops, signal, onProgress: progress.show });
  } finally {
    progress.stop();
  }
}

function traceFile(trace: Trace, ids: readonly number[], { config }: LoopLM): Iterable<Uint8Array> {
  const { numLoops, length } = trace;
  const tensor = (name: string, data: Float32Array, ...inner: number[]) => ({
    name,
    shape: [numLoops, length, ...inner],
    dtype: 'F32' as const,
    data,
  });
  const tensors = [
    tensor('hidden', trace.hidden, config.hiddenSize),
    ...(trace.gateLogits ? [tensor('gate_logits', trace.gateLogits)] : []),
    tensor('exit_pdf', trace.exitPdf),
    tensor('exit_cdf', trace.exitCdf),
    tensor('logits', trace.logits, config.vocabSize),
  ];
  return safetensorsChunks(tensors, { format: TRACE_FORMAT, ids: ids.join(',') });
}

/** The rows of an `[R, T]` array by token: T lists of R numbers. */
function byToken(values: Float32Array, { numLoops, length }: Trace): number[][] {
  return Array.from({ length }, (_, position) =>
    Array.from({ length: numLoops }, (__, loopIndex) => values[loopIndex * length + position]!),
  );
}

/** Probability of the most likely next token, `[R, T]`. */
function topProbs({ logits, numLoops, length }: Trace): Float32Array {
  const vocabSize = logits.length / (numLoops * length);
  return Float32Array.from({ length: numLoops * length }, (_, row) => {
    const ofRow = logits.subarray(row * vocabSize, (row + 1) * vocabSize);
    const largest = ofRow.reduce((a, b) => Math.max(a, b));
    return 1 / ofRow.reduce((sum, logit) => sum + Math.exp(logit - largest), 0);
  });
}

function jsonOf(trace: Trace, ids: readonly number[], out: string): string {
  const { numLoops } = trace;
  return JSON.stringify({ out, numLoops, ids, exitPdf: byToken(trace.exitPdf, trace) });
}

/** When each token would exit; of a model without an exit gate, how sure it is after each loop. */
function tableOf(trace: Trace, ids: readonly number[], { tokenizer }: LoopLM): string {
  const depths = Array.from({ length: trace.numLoops }, (_, loopIndex) => `${loopIndex + 1}`);
  const hasGate = trace.gateLogits !== undefined;
  const values = byToken(hasGate ? trace.exitPdf : topProbs(trace), trace);
  const rows = values.map((row, position) => {
    const id = ids[position]!;
    const shown = tokenizer ? JSON.stringify(tokenizer.decode([id])) : String(id);
    const meanDepth = row.reduce((sum, p, loopIndex) => sum + p * (loopIndex + 1), 0);
    return [shown, ...row.map((p) => p.toFixed(3)), ...(hasGate ? [meanDepth.toFixed(2)] : [])];
  });
  const heading = hasGate
    ? 'Probability of exiting after each loop:'
    : 'Probability of the most likely next token after each loop (the model has no exit gate):';
  const columns = ['token', ...depths, ...(hasGate ? ['mean depth'] : [])];
  return [heading, ...table([columns, ...rows])].join('\n');
}
