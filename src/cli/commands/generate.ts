/**
 * `looplm generate`: continues a prompt; each token in the colour of its depth, or one JSON object.
 */
import type { Command } from 'commander';
import { rolloutToJson } from '../../engine/index.js';
import type { LoopLM, Prompt, TextFinishEvent } from '../../loop-lm.js';
import type { GenerationFlags } from '../generation-flags.js';
import { addGenerationFlags, generateOptions } from '../generation-flags.js';
import type { CliIo } from '../io.js';
import { InterruptedError, interruptible } from '../io.js';
import type { ModelFlags } from '../model-flags.js';
import { addEngineFlags, withModel } from '../model-flags.js';
import type { PromptFlags } from '../prompt-flags.js';
import { addPromptFlags, promptOf } from '../prompt-flags.js';
import { streamAnswer } from '../stream-answer.js';
import { styleOf } from '../style.js';
import { closingLine } from '../summary.js';

type Flags = ModelFlags & PromptFlags & GenerationFlags & { readonly json?: true };

const EXAMPLES = `
Examples:
  looplm generate --prompt 'The ball is under cup 3. Swap cups 2 and 3. Swap cups 1 and 5. Where is the ball?'
  looplm generate --prompt 'Start with 4. Add 7. Multiply by 3. What is the result?' --exit-policy cdf:0.5
  looplm generate --model ./my-model --ids 5,9,2 --max-new-tokens 32 --json
  looplm generate --prompt-file problem.txt
  echo 'The ball is under cup 3. Swap cups 2 and 3. Where is the ball?' | looplm generate
`;

export function registerGenerate(program: Command, io: CliIo): void {
  const command = program
    .command('generate')
    .description('continue a prompt, each token at its own depth')
    .addHelpText('after', EXAMPLES);
  addPromptFlags(addEngineFlags(command));
  addGenerationFlags(command)
    .option('--json', 'print one JSON object with the rollout record instead of the text')
    .action(async (flags: Flags) => {
      const prompt = await promptOf(flags, io);
      await withModel(flags, io, (model) => generate(model, prompt, flags, io));
    });
}

async function generate(model: LoopLM, prompt: Prompt, flags: Flags, io: CliIo): Promise<void> {
  const finish = await interruptible(io, async (signal) => {
    const options = { ...generateOptions(flags), signal };
    if (flags.json) return model.complete(prompt, { ...options, record: true });
    return print(model, prompt, options, io);
  });
  if (flags.json) io.stdout.write(`${JSON.stringify(recordOf(finish))}\n`);
  if (finish.finishReason === 'aborted') throw new InterruptedError();
}

async function print(
  model: LoopLM,
  prompt: Prompt,
  options: ReturnType<typeof generateOptions>,
  io: CliIo,
): Promise<TextFinishEvent> {
  const style = styleOf(io);
  const start = io.now();
  const before = io.stdout.isTTY && typeof prompt === 'string' ? style.dim(prompt) : '';
  const finish = await streamAnswer(model, model.generate(prompt, options), style, io, { before });
  io.stdout.write('\n');
  if (!model.tokenizer) {
    io.stderr.write('note: the model folder has no tokenizer.json; token ids are shown\n');
  }
  const summary = {
    ...finish,
    numTokens: finish.tokenIds.length,
    numLoops: options.numLoops ?? model.config.numLoops,
    seconds: (io.now() - start) / 1000,
  };
  io.stderr.write(`${closingLine(summary)}\n`);
  return finish;
}

/** The rollout record with the text and the loop counts. */
function recordOf({ text, rollout, executedLoops, fullDepthLoops }: TextFinishEvent): object {
  return { text, ...rolloutToJson(rollout!), executedLoops, fullDepthLoops };
}
