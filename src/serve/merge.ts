/** Several asynchronous sources as one, in the order in which their items come. */

/** An item, and which source it is from. */
export interface Merged<T> {
  readonly index: number;
  readonly value: T;
}

/** What came of asking a source. */
type Reply<T> = { readonly index: number } & (
  | { readonly result: IteratorResult<T> }
  | { readonly error: unknown }
);

/**
 * Each source is asked for its next item only when its last one was taken. Leaving early leaves all of
 * them, and so does a source that throws.
 */
export async function* merge<T>(sources: readonly AsyncGenerator<T>[]): AsyncGenerator<Merged<T>> {
  const replies: Reply<T>[] = [];
  let wake = () => {};
  const take = (reply: Reply<T>) => {
    replies.push(reply);
    wake();
  };
  const ask = async (index: number): Promise<void> =>
    sources[index]!.next().then(
      (result) => take({ index, result }),
      (error: unknown) => take({ index, error }),
    );
  const asking = sources.map((_, index) => ask(index));
  let numOpen = sources.length;
  try {
    while (numOpen > 0) {
      if (replies.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      const reply = replies.shift()!;
      if ('error' in reply) throw reply.error;
      const { index, result } = reply;
      if (result.done) {
        numOpen -= 1;
      } else {
        asking[index] = ask(index);
        yield { index, value: result.value };
      }
    }
  } finally {
    await Promise.allSettled([...sources.map((source) => source.return(undefined)), ...asking]);
  }
}
