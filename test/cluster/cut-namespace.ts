/**
 * Two network namespaces with a cable between them that can be pulled: nothing of it reaches any other
 * network. Needs root and `ip`.
 */
import { execFileSync } from 'node:child_process';

export interface CutNamespace {
  /** Address of the first one, as both see it. */
  readonly host: string;
  /** What a command is an argument of to run in the first, and in the second. */
  readonly near: readonly string[];
  readonly far: readonly string[];
  cut(): void;
  mend(): void;
  remove(): void;
}

const [NEAR, FAR] = [`looplm-near-${process.pid}`, `looplm-far-${process.pid}`];
const HOST = '10.213.7.1';

/** The two namespaces; or why there cannot be any. */
export function cutNamespace(): CutNamespace | string {
  const ip = (...args: string[]) => void execFileSync('ip', args, { stdio: 'pipe' });
  const remove = () => {
    for (const name of [NEAR, FAR]) {
      try {
        ip('netns', 'del', name);
      } catch {
        // it was not made
      }
    }
  };
  try {
    for (const name of [NEAR, FAR]) {
      ip('netns', 'add', name);
      ip('-n', name, 'link', 'set', 'lo', 'up');
    }
    ip('link', 'add', 'near', 'netns', NEAR, 'type', 'veth', 'peer', 'name', 'far', 'netns', FAR);
    ip('-n', NEAR, 'addr', 'add', `${HOST}/24`, 'dev', 'near');
    ip('-n', FAR, 'addr', 'add', '10.213.7.2/24', 'dev', 'far');
    ip('-n', NEAR, 'link', 'set', 'near', 'up');
    ip('-n', FAR, 'link', 'set', 'far', 'up');
  } catch (error) {
    remove();
    return `no network namespaces here (${String(error).split('\n')[0]})`;
  }
  const inside = (name: string) => ['ip', 'netns', 'exec', name];
  return {
    host: HOST,
    near: inside(NEAR),
    far: inside(FAR),
    cut: () => ip('-n', NEAR, 'link', 'set', 'near', 'down'),
    mend: () => ip('-n', NEAR, 'link', 'set', 'near', 'up'),
    remove,
  };
}
