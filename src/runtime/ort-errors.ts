/**
 * Says in our words what ONNX Runtime refuses, as far as a user can do something about it.
 *
 * It reports everything as a plain `Error`, so kinds are told apart by fixed parts of its messages.
 */
import { CapacityError, UnsupportedError } from '../errors.js';

/** Why a program could not be compiled. */
export function compileError(cause: unknown): Error {
  const reason = firstLine(cause);
  if (reason.includes('Could not find an implementation')) {
    return new UnsupportedError(`ONNX Runtime cannot run an operation of this program: ${reason}`, {
      cause,
    });
  }
  return new Error(`ONNX Runtime refused a program: ${reason}`, { cause });
}

/** Why a compiled program could not run. */
export function runError(label: string, cause: unknown): Error {
  const reason = firstLine(cause);
  if (reason.includes('Failed to allocate memory')) {
    return new CapacityError(
      `${label} needs more memory than there is: ${reason}. Use a smaller batch or context.`,
      { cause },
    );
  }
  return new Error(`${label} failed: ${reason}`, { cause });
}

function firstLine(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).split('\n')[0]!.trim();
}
