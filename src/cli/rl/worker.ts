/** `looplm rl --join`: draws for a trainer on another machine. */
import { connectRun, createNodeDevice } from '../../platform/node/index.js';
import { drawForTrainer } from '../../rl/index.js';
import type { CliIo } from '../io.js';
import { InterruptedError, interruptible } from '../io.js';

/** Draws until the run is over. @throws InterruptedError if it was stopped */
export async function rollOutFor(
  address: string,
  { threads, json }: { readonly threads: number | undefined; readonly json: boolean },
  io: CliIo,
): Promise<void> {
  const onNote = (line: string) => void io.stderr.write(`${line}\n`);
  let [groups, last] = [0, -1];
  const isStopped = await interruptible(io, async (signal) => {
    const store = await connectRun(address, { env: io.env, onNote, signal });
    try {
      const device = await createNodeDevice({ numThreads: threads });
      try {
        await drawForTrainer({
          store,
          device,
          onNote,
          signal,
          onGroup({ trainStep }) {
            groups++;
            if (trainStep !== last) onNote(`drawing for train step ${trainStep + 1}`);
            last = trainStep;
          },
        });
      } finally {
        await device.dispose();
      }
    } finally {
      await store.close();
    }
    return signal.aborted;
  });
  io.stdout.write(json ? `${JSON.stringify({ groups })}\n` : `Drew ${groups} groups.\n`);
  if (isStopped) throw new InterruptedError();
}
