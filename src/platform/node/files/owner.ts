/**
 * Which process something on disk belongs to, and whether that process is still there.
 *
 * A process number alone does not say: it is given again. With the time of its start, which Linux
 * tells, it does. Of a process on another machine or in another container nothing can be known.
 */
import { createHash } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

export interface Owner {
  /** Hash of what process numbers hold within: machine, its last start, container. */
  readonly place: string;
  readonly pid: number;
  /** When the process began, in a form of the system's; '0' where the system does not tell. */
  readonly start: string;
}

/** This process. */
export function thisOwner(): Owner {
  const { pid } = process;
  return { place: PLACE, pid, start: readProcess(pid)?.start ?? '0' };
}

/** Whether the process of an owner is still there, as far as can be told from here. */
export function stateOf({ place, pid, start }: Owner): 'here' | 'gone' | 'unknown' {
  if (place !== PLACE) return 'unknown';
  if (!isNumberInUse(pid)) return 'gone';
  const found = readProcess(pid);
  if (found === undefined || start === '0') return 'unknown';
  return found.start === start && !found.isDead ? 'here' : 'gone';
}

/** This process as a part of a file name. */
export function ownerTag(): string {
  const { place, pid, start } = thisOwner();
  return `${place}-${pid}-${start}`;
}

/** The owner that a part of a file name tells; undefined if it tells none. */
export function parseOwnerTag(tag: string | undefined): Owner | undefined {
  const [, place, pid, start] = /^([0-9a-f]{8})-(\d+)-(\d+)$/.exec(tag ?? '') ?? [];
  if (place === undefined || pid === undefined || start === undefined) return undefined;
  return { place, pid: Number(pid), start };
}

const PLACE = createHash('sha256')
  .update(JSON.stringify([hostname(), bootId(), processNamespace()]))
  .digest('hex')
  .slice(0, 8);

function bootId(): string {
  return tryRead(() => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1')) ?? '';
}

function processNamespace(): string {
  return tryRead(() => readlinkSync('/proc/self/ns/pid')) ?? '';
}

/** Undefined where there is no /proc, or it hides this process. Source: proc_pid_stat(5). */
function readProcess(
  pid: number,
): { readonly start: string; readonly isDead: boolean } | undefined {
  const text = tryRead(() => readFileSync(`/proc/${pid}/stat`, 'latin1'));
  // The name of the program comes second, in parentheses, and may hold any character.
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state, start] = [fields?.[0], fields?.[19]];
  if (state === undefined || start === undefined) return undefined;
  return { start, isDead: state === 'Z' || state === 'X' }; // killed, and not yet taken leave of
}

function isNumberInUse(pid: number): boolean {
  try {
    return process.kill(pid, 0); // asks, and sends nothing
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function tryRead(read: () => string): string | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
