/** The keys of an object that have a value. */
export type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** A copy without keys whose value is undefined, so that spreading it overrides nothing by accident. */
export function withoutUndefined<T extends object>(values: T): Defined<T> {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as Defined<T>;
}
