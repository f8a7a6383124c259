/**
 * The three exit gates of the bundled model, read from gates.safetensors and put into its weights.
 */
import type { Folder, LoadedCheckpoint, ModelWeights } from 'looplm/model';
import { GATES_FILE, loadGate } from 'looplm/model';
import type { GateName } from './figures.js';
import { GATES } from './figures.js';

/** Weights of the model with one of its gates. */
export interface GatedWeights {
  readonly gate: GateName;
  readonly weights: ModelWeights;
  /** Whether this is the gate that the model ships with. */
  readonly isShipped: boolean;
}

/**
 * The model with each gate of the folder's gates file. The shipped gate comes first; it is called
 * `own`, and is the only one, where there is no file, and comes in addition where the file lacks it.
 *
 * @throws LoopLMError if the file is damaged or lacks a gate
 */
export async function readGates(
  folder: Folder,
  { config, weights }: Pick<LoadedCheckpoint, 'config' | 'weights'>,
): Promise<GatedWeights[]> {
  const own: GatedWeights = { gate: 'own', weights, isShipped: true };
  if (!(await folder.exists(GATES_FILE))) return [own];
  const gates: GatedWeights[] = [];
  for (const gate of GATES) {
    const swapped = new Map([...weights, ...(await loadGate(folder, config, gate))]);
    gates.push({ gate, weights: swapped, isShipped: areEqual(swapped, weights) });
  }
  const shipped = gates.filter(({ isShipped }) => isShipped).slice(0, 1);
  return [
    ...(shipped.length > 0 ? shipped : [own]),
    ...gates.filter((gate) => gate !== shipped[0]),
  ];
}

function areEqual(a: ModelWeights, b: ModelWeights): boolean {
  return [...a].every(([name, values]) => {
    const others = b.get(name)!;
    return values === others || values.every((value, index) => value === others[index]);
  });
}
