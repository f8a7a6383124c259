/** Gates beside a model: what is written is read, one takes the place of the weights' own, mistakes are named. */
import { describe, expect, it } from 'vitest';
import type { Folder } from '../util/folder.js';
import { memoryFolder } from '../util/folder.js';
import { encodeSafetensors } from '../util/safetensors.js';
import { saveCheckpoint } from './checkpoint.js';
import { GATES_FILE, loadGate, saveGates } from './gates.js';
import type { LoopLMConfig } from './config.js';
import { loadWeights } from './load.js';
import { initializeAdapter, loraModules, loraSettings, saveAdapter } from './lora/index.js';
import type { ModelWeights } from './params.js';
import { initializeWeights } from './params.js';
import { RELEASED_SHAPES } from './released-shapes.js';

const CONFIG: LoopLMConfig = {
  ...RELEASED_SHAPES.get('ouro-1.4b')!,
  hiddenSize: 8,
  intermediateSize: 12,
  numHiddenLayers: 1,
  numAttentionHeads: 2,
  numKeyValueHeads: 2,
  headDim: 4,
  vocabSize: 11,
  bosTokenId: 0,
  eosTokenIds: [0],
  padTokenId: 0,
};
const GATE = ['model.early_exit_gate.weight', 'model.early_exit_gate.bias'];
const gateOf = (weights: ModelWeights) => new Map(GATE.map((name) => [name, weights.get(name)!]));

/** Weights whose gate is of the seed, as all of them are. */
const weightsOf = (seed: number): ModelWeights => {
  const weights = new Map(initializeWeights(CONFIG, seed));
  weights.set(GATE[1]!, Float32Array.of(seed));
  return weights;
};

const OWN = weightsOf(1);
const OTHERS = new Map([2, 3].map((seed) => [`gate-${seed}`, weightsOf(seed)]));

async function modelFolder(): Promise<Folder> {
  const folder = memoryFolder('model', new Map());
  await saveCheckpoint(folder, CONFIG, OWN, { dtype: 'f32' });
  await saveGates(folder, CONFIG, OTHERS);
  return folder;
}

describe('a gate by name', () => {
  it('is read as it was written', async () => {
    const folder = await modelFolder();
    for (const [name, weights] of OTHERS) {
      expect(await loadGate(folder, CONFIG, name)).toEqual(gateOf(weights));
    }
  });

  it('takes the place of that in the weights, and all else stays', async () => {
    const { weights } = await loadWeights(await modelFolder(), { gate: 'gate-3' });
    expect(weights).toEqual(new Map([...OWN, ...gateOf(OTHERS.get('gate-3')!)]));
  });

  it('takes the place of that of an adapter, whose matrices stay', async () => {
    const settings = loraSettings.parse({ r: 2, target_modules: ['q_proj'] });
    const modules = loraModules(CONFIG, settings);
    const values = new Map([...initializeAdapter(modules, 5), ...gateOf(weightsOf(4))]);
    for (const { b } of modules) values.get(b.hfName)!.fill(0.5);
    const adapter = memoryFolder('adapter', new Map());
    await saveAdapter(adapter, { modules, weights: values }, { settings, baseModel: 'model' });
    const folder = await modelFolder();
    const merged = (await loadWeights(folder, { adapter })).weights as ModelWeights;
    expect(gateOf(merged)).toEqual(gateOf(values));
    const { weights } = await loadWeights(folder, { adapter, gate: 'gate-2' });
    expect(weights).toEqual(new Map([...merged, ...gateOf(OTHERS.get('gate-2')!)]));
  });
});

describe('is refused', () => {
  it('if there is none of the name', async () => {
    await expect(loadGate(await modelFolder(), CONFIG, 'gate-4')).rejects.toThrow(
      'The exit gate "gate-4" is asked for, and gates.safetensors of model has gate-2, gate-3. Choose one of these.',
    );
  });

  it('if there are none', async () => {
    await expect(loadGate(memoryFolder('model', new Map()), CONFIG, 'gate-2')).rejects.toThrow(
      'The exit gate "gate-2" is asked for, but model has no gates.safetensors. Leave it out for the gate in the weights.',
    );
  });

  it('by a model without exits', async () => {
    const config = RELEASED_SHAPES.get('nanbeige-4.2-3b')!;
    await expect(loadGate(await modelFolder(), config, 'gate-2')).rejects.toThrow(
      'The exit gate "gate-2" is asked for, but models of the architecture nanbeige have none. Leave it out.',
    );
  });

  it('if it is of a model of another width', async () => {
    const file = encodeSafetensors([
      { name: 'wide.weight', shape: [1, 9], dtype: 'F32', data: new Float32Array(9) },
      { name: 'wide.bias', shape: [1], dtype: 'F32', data: new Float32Array(1) },
    ]);
    const folder = memoryFolder('model', new Map([[GATES_FILE, file]]));
    await expect(loadGate(folder, CONFIG, 'wide')).rejects.toThrow(
      "wide.weight of gates.safetensors in model has shape [1, 9]; this model's gate has [1, 8]. Copy the file of this model.",
    );
  });
});
