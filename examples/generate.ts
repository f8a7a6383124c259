/**
 * Streams an answer of the bundled model, or of the model folder given as argument, and says for
 * each token how many loops it took. Built and run by `npm run example`, with a folder by
 * `npm run example -- FOLDER`; Node.js from 22.18 runs this file itself once looplm is built.
 */
import { LoopLM } from 'looplm';
import { bundledModelPath } from 'looplm/node';

const model = await LoopLM.fromPretrained(process.argv[2] ?? bundledModelPath());

const prompt = 'The ball is under cup 3. Swap cups 2 and 3. Where is the ball?';
for await (const event of model.generate(prompt)) {
  if (event.kind === 'token') {
    console.log(`${JSON.stringify(event.text)} at depth ${event.exitDepth}`);
  } else {
    console.log(`${event.executedLoops} of ${event.fullDepthLoops} loops were run`);
  }
}

await model.dispose();
