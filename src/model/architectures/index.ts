/** The architectures that looplm computes, found by their name. */
import type { ArchitectureName, LoopLMConfig } from '../config.js';
import type { Architecture } from './architecture.js';
import { NANBEIGE } from './nanbeige.js';
import { OURO } from './ouro.js';

export type { Architecture, MatrixName, NormName } from './architecture.js';

export const ARCHITECTURES: Readonly<Record<ArchitectureName, Architecture>> = {
  ouro: OURO,
  nanbeige: NANBEIGE,
};

/** What the blocks of a model are, and its boundary. */
export function architectureOf({ architecture }: Pick<LoopLMConfig, 'architecture'>): Architecture {
  return ARCHITECTURES[architecture];
}

/** Whether the model has an exit gate. One without counts as one whose gate is always shut. */
export function hasExitGate(config: Pick<LoopLMConfig, 'architecture'>): boolean {
  return architectureOf(config).hasExitGate;
}
