/** Several asynchronous sources as one, in the order in which their items come. */

/** An item, and which source it is from. */
export interface Merged<T> {
  readonly index: number;
  readonly value: T;
}

/**
 * Each source is asked for its next item only when its last one was taken. Leaving early leaves all of
 * them, and so does a source that throws.
 */
export async function* merge<T>(sources: readonly AsyncGenerator<T>[]): AsyncGenerator<Merged<T>> {
  const askNext = async (index: number) => ({ index, result: await sources[index]!.next() });
  const pending = new Map(sources.map((_, index) => [index, askNext(index)]));
  try {
    while (pending.size > 0) {
      const { index, result } = await Promise.race(pending.values());
      if (result.done) {
        pending.delete(index);
      } else {
        pending.set(index, askNext(index));
        yield { index, value: result.value };
      }
    }
  } finally {
    const rest = [...pending.values()];
    await Promise.allSettled([...sources.map((source) => source.return(undefined)), ...rest]);
  }
}
