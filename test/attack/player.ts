/** A process that plays attacks by their number, one after the other, for `main.ts`. */
import { tmpdir } from 'node:os';
import { verdictOf } from './verdict.js';

process.env['HOME'] = tmpdir(); // nothing of the user's is at risk

process.on('message', ({ seed, index }: { readonly seed: number; readonly index: number }) => {
  void verdictOf(seed, index, (drawn) => process.send?.({ drawn })).then((verdict) => {
    // a file that was left open is told when it is collected
    globalThis.gc?.();
    setTimeout(() => process.send?.(verdict), 5);
  });
});
