/**
 * The folder of a model for a command: a path, or a name on the hub that is pulled with its progress
 * on stderr.
 */
import type { PullOptions, ResolvedModel } from '../platform/node/index.js';
import { NODE_PLATFORM, resolveModel } from '../platform/node/index.js';
import { openByteProgress } from './byte-progress.js';
import type { CliIo } from './io.js';
import { InterruptedError, interruptible } from './io.js';

/** @throws LoopLMError as `resolveModel` does; InterruptedError at Ctrl-C */
export async function resolveShown(
  model: string,
  options: Pick<PullOptions, 'revision' | 'offline'>,
  io: CliIo,
): Promise<ResolvedModel> {
  const pulling = openByteProgress(io, 'pulling');
  return interruptible(io, async (signal) => {
    try {
      return await resolveModel(
        model,
        {
          ...options,
          signal,
          progress: ({ receivedBytes, totalBytes }) => pulling.show(receivedBytes, totalBytes),
          onWait(message) {
            pulling.stop();
            io.stderr.write(`${message}\n`);
          },
        },
        { ...NODE_PLATFORM, env: io.env },
      );
    } catch (error) {
      if (!signal.aborted) throw error;
      io.stderr.write('Stopped. What has arrived is kept; the same command goes on from there.\n');
      throw new InterruptedError();
    } finally {
      pulling.stop();
    }
  });
}
