/**
 * Carries errors between threads. Structured cloning keeps an error's message but makes it a plain
 * `Error`; callers tell our errors apart by class, so the class travels by its code.
 */
import type { ErrorCode } from '../errors.js';
import {
  CapacityError,
  CheckpointError,
  ConfigError,
  DisposedError,
  DownloadError,
  FileError,
  LoopLMError,
  RequestError,
  ServerError,
  ShapeError,
  UnsupportedError,
} from '../errors.js';

const CLASS_OF: Readonly<Record<ErrorCode, { readonly prototype: LoopLMError }>> = {
  config: ConfigError,
  shape: ShapeError,
  checkpoint: CheckpointError,
  capacity: CapacityError,
  unsupported: UnsupportedError,
  disposed: DisposedError,
  request: RequestError,
  file: FileError,
  download: DownloadError,
  server: ServerError,
};

export interface PackedError {
  readonly message: string;
  readonly stack: string | undefined;
  /** The fields of our errors, `name` and `code` among them. */
  readonly fields?: Readonly<Record<string, unknown>> & { readonly code: ErrorCode };
}

export function packError(error: unknown): PackedError {
  if (!(error instanceof Error)) return { message: String(error), stack: undefined };
  const { message, stack } = error;
  if (!(error instanceof LoopLMError)) return { message, stack };
  return {
    message,
    stack,
    fields: { ...Object.fromEntries(Object.entries(error)), code: error.code },
  };
}

/** The error as it was thrown, with the stack of the place where it was thrown. */
export function unpackError({ message, stack, fields }: PackedError): Error {
  const error = new Error(message);
  if (stack !== undefined) error.stack = stack;
  if (!fields) return error;
  Object.setPrototypeOf(error, CLASS_OF[fields.code].prototype);
  return Object.assign(error, fields);
}
