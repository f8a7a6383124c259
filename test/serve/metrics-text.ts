/** Metrics as Prometheus reads them. */
import type { TestServer } from './server.js';

/** Values by name and labels. */
export async function metricsOf({ ask }: Pick<TestServer, 'ask'>): Promise<Map<string, number>> {
  const text = await (await ask('/metrics')).text();
  return new Map(
    text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => {
        const at = line.lastIndexOf(' ');
        return [line.slice(0, at), Number(line.slice(at + 1))];
      }),
  );
}
