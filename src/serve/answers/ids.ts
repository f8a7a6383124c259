/** Names of answers and of their parts. */
export function newId(prefix: string): string {
  return `${prefix}${crypto.randomUUID().replaceAll('-', '')}`;
}

/** Seconds of Unix time, as OpenAI's answers tell it. */
export function unixSeconds(): number {
  return Math.floor(Date.now() / 1000);
}
