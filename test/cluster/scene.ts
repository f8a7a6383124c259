/** What a scenario of several machines is played with. */
import type { Draw } from '../draw.js';
import type { NatsServer } from './nats-server.js';

export interface SceneOptions {
  /** Empty; for all files. */
  readonly folder: string;
  readonly draw: Draw;
  readonly say: (line: string) => void;
}

export interface Scene extends SceneOptions {
  readonly server: NatsServer;
  /** What went wrong, a line each. */
  readonly faults: string[];
}

export type Scenario = (scene: Scene) => Promise<void>;

/** A whole number from one to another, both included. */
export const between = ({ draw }: Scene, from: number, to: number) =>
  from + draw.below(to - from + 1);
