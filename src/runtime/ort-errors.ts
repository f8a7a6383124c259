/**
 * Says in our words what ONNX Runtime refuses, as far as a user can do something about it.
 *
 * It reports everything as a plain `Error`, so kinds are told apart by fixed parts of its messages.
 */
import { CapacityError, UnsupportedError } from '../errors.js';

/** Why a program could not be compiled for `device`. */
export function compileError(device: string, cause: unknown): Error {
  const reason = firstLine(cause);
  if (reason.includes('WebGPU adapter')) {
    return new UnsupportedError(
      `device "${device}" found no GPU adapter; it needs a GPU with a Vulkan, Metal or Direct3D 12 driver. Install one or use device "cpu".`,
      { cause },
    );
  }
  if (reason.includes('Could not find an implementation')) {
    return new UnsupportedError(
      `device "${device}" cannot run an operation of this program: ${reason}`,
      { cause },
    );
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
