/** What the system says becomes a sentence: the path, what is the matter, and what to do. */
import { expect, it } from 'vitest';
import { FileError } from '../../../errors.js';
import { failRead, failWrite } from './errors.js';

const because = (code: string) => Object.assign(new Error('raw'), { code });
const messageOf = (fail: (path: string, cause: unknown) => never, code: string): string => {
  try {
    return fail('/some/path', because(code));
  } catch (error) {
    expect(error).toBeInstanceOf(FileError);
    return (error as Error).message;
  }
};

it.each([
  ['ENOENT', /does not exist|nothing can be made there/],
  ['ENOTDIR', /lies below something that is not a folder/],
  ['EISDIR', /is a folder/],
  ['EACCES', /may not be accessed by this user/],
  ['EROFS', /read-only file system/],
  ['ENOSPC', /the disk is full/],
  ['ENAMETOOLONG', /its name is longer/],
  ['ELOOP', /in a circle/],
  ['EMFILE', /too many files are open/],
  ['EIO', /the disk reports a fault/],
])('%s, read and written', (code, reason) => {
  for (const [fail, verb] of [
    [failRead, 'read'],
    [failWrite, 'write'],
  ] as const) {
    const message = messageOf(fail, code);
    expect(message).toMatch(new RegExp(`^Cannot ${verb} /some/path: [^\\n]+\\. [^\\n]+\\.$`));
    expect(message).toMatch(reason);
    expect(message).not.toContain(code);
  }
});

it('a code that nobody has thought of is told as it is', () => {
  expect(messageOf(failRead, 'EWEIRD')).toBe(
    'Cannot read /some/path: the system says EWEIRD. Check the path.',
  );
});
