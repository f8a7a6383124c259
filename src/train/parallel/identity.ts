/**
 * Who a machine is in a run: a name that its folder keeps, so that one that was stopped comes back as itself.
 */
import { z } from 'zod';
import { FileError } from '../../errors.js';
import type { Folder } from '../../util/folder.js';

/** Beside the snapshots of the machine. */
export const MEMBER_FILE = 'member.json';

const memberSchema = z.strictObject({ run: z.string(), member: z.string() });

/**
 * @param run - id of the run
 * @param machine - what to call a machine that is new
 * @throws FileError if the folder is of another run
 */
export async function thisMember(
  folder: Folder,
  run: string,
  machine: string,
  storeName: string,
): Promise<string> {
  if (await folder.exists(MEMBER_FILE)) {
    const saved = memberSchema.safeParse(parse(await folder.readText(MEMBER_FILE)));
    if (saved.success && saved.data.run === run) return saved.data.member;
    throw new FileError(
      `${folder.path}/${MEMBER_FILE}`,
      `${folder.path} is of another run than ${storeName} holds now. Name another folder.`,
    );
  }
  const member = `${machine.replaceAll(/[^\w-]/g, '-').slice(0, 40)}-${crypto.randomUUID().slice(0, 8)}`;
  await folder.write(MEMBER_FILE, `${JSON.stringify({ run, member })}\n`);
  return member;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
