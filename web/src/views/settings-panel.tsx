/** The settings of a side. On a small screen they are folded behind a button. */
import { useState } from 'preact/hooks';
import type { Model } from '../api/token.js';
import type { PolicyChoice } from '../state/policies.js';
import { choiceOf, policyChoices, policySpec, readPolicy, WRITTEN } from '../state/policies.js';
import type { Prefill, Settings, Side } from '../state/settings.js';
import { MOST_SEED, MOST_TEMPERATURE, prefillsOf, settingsOf } from '../state/settings.js';
import type { ModelProps } from './page-props.js';
import { RangeField, Segments, SelectField, TextField } from './fields.js';
import { counted, rounded } from './format.js';

export function SettingsPanel({ session, state, model }: ModelProps) {
  const [isOpen, setOpen] = useState(false);
  const side = state.edited;
  const settings = settingsOf(model, side, state);
  const set = (patch: Partial<Settings>) => session.dispatch({ type: 'setting', side, patch });
  const isChanged = Object.keys(state.changes[side]).length > 0;
  return (
    <aside class={`settings ${isOpen ? 'is-open' : ''}`} aria-label="Settings">
      <button
        type="button"
        class="fold"
        aria-expanded={isOpen}
        aria-controls="settings"
        onClick={() => setOpen(!isOpen)}
      >
        <span>Settings</span>
        <span class="fold-line">{settings.exitPolicy}</span>
      </button>
      <div id="settings" class="settings-body">
        {state.compares && (
          <Segments<Side>
            legend="Side to set"
            name="side"
            value={side}
            options={[
              { value: 'a', label: 'Side A' },
              { value: 'b', label: 'Side B' },
            ]}
            onChange={(value) => session.dispatch({ type: 'edit', side: value })}
          />
        )}
        <PolicyFields key={side} model={model} settings={settings} set={set} />
        <DepthFields model={model} settings={settings} set={set} />
        <SelectField
          label="Cache"
          about={KV_POLICIES[settings.kvPolicy]}
          value={settings.kvPolicy}
          options={model.kvPolicies.map((value) => ({ value, label: value }))}
          onChange={(kvPolicy) => set({ kvPolicy })}
        />
        <SamplingFields model={model} settings={settings} set={set} />
        <SelectField<Prefill>
          label="Prefill"
          about={PREFILLS[settings.prefill].about}
          value={settings.prefill}
          options={prefillsOf(state, settings.kvPolicy).map((value) => ({
            value,
            label: PREFILLS[value].name,
          }))}
          onChange={(prefill) => set({ prefill })}
        />
        <button
          type="button"
          class="quiet"
          disabled={!isChanged}
          onClick={() => session.dispatch({ type: 'reset', side })}
        >
          Back to the model’s own
        </button>
      </div>
    </aside>
  );
}

const KV_POLICIES: Readonly<Record<string, string>> = {
  'per-loop': 'Exact: loops that a token skipped are made up for when a later token needs them.',
  'last-exited': 'Deeper loops read what a token left where it stopped.',
  shared: 'One cache for all loops: the least memory.',
};

const PREFILLS: Readonly<Record<Prefill, { readonly name: string; readonly about: string }>> = {
  scored: {
    name: 'Show its depths',
    about: 'Runs all loops of the prompt, and shows how many each of its tokens would have taken.',
  },
  full: { name: 'Every loop', about: 'Runs all loops of the prompt at once.' },
  deferred: {
    name: 'Loops when needed',
    about: 'Exact: runs a loop of the prompt once some later token goes that deep.',
  },
  adaptive: {
    name: 'Exits, too',
    about: 'Tokens of the prompt stop by the exit policy as new ones do: another computation.',
  },
};

interface FieldsProps {
  readonly model: Model;
  readonly settings: Settings;
  readonly set: (patch: Partial<Settings>) => void;
}

function PolicyFields({ model, settings, set }: FieldsProps) {
  const choices = policyChoices(model);
  const [isWritten, setWritten] = useState(false);
  const fitting = choiceOf(settings.exitPolicy, choices);
  const choice = isWritten ? choices.at(-1)! : fitting;
  const choose = (word: string) => {
    const next = choices.find((each) => each.word === word)!;
    setWritten(word === WRITTEN);
    if (word !== WRITTEN) set({ exitPolicy: policySpec(next) });
  };
  return (
    <>
      <SelectField
        label="Exit policy"
        about={choice.about}
        value={choice.word}
        options={choices.map(({ word, name, needsGate }) => ({
          value: word,
          label: name,
          ...(needsGate && !model.hasExitGate ? { disabled: 'This model has no exit gate.' } : {}),
        }))}
        onChange={choose}
      />
      {choice.value && <PolicyValueField choice={choice} settings={settings} set={set} />}
      {choice.word === WRITTEN && (
        <TextField
          label="Policy"
          value={settings.exitPolicy}
          onChange={(exitPolicy) => exitPolicy.trim() !== '' && set({ exitPolicy })}
        />
      )}
    </>
  );
}

function PolicyValueField({
  choice,
  settings,
  set,
}: Omit<FieldsProps, 'model'> & { readonly choice: PolicyChoice }) {
  const { name, min, max, step, isLog = false } = choice.value!;
  const { value } = readPolicy(settings.exitPolicy);
  return (
    <RangeField
      label={name}
      min={min}
      max={max}
      step={step}
      value={isLog ? Math.log10(value) : value}
      output={rounded(value)}
      onChange={(moved) => set({ exitPolicy: policySpec(choice, isLog ? 10 ** moved : moved) })}
    />
  );
}

function DepthFields({ model, settings, set }: FieldsProps) {
  const range = { min: 1, max: model.numLoops, step: 1 };
  const output = (depth: number) => `${depth} of ${model.numLoops}`;
  return (
    <div class="pair">
      <RangeField
        label="Min depth"
        {...range}
        value={settings.minDepth}
        output={output(settings.minDepth)}
        onChange={(minDepth) => set({ minDepth })}
      />
      <RangeField
        label="Max depth"
        {...range}
        value={settings.maxDepth}
        output={output(settings.maxDepth)}
        onChange={(maxDepth) => set({ maxDepth })}
      />
    </div>
  );
}

function SamplingFields({ model, settings, set }: FieldsProps) {
  const mostTokens = Math.log2(model.maxModelLen);
  return (
    <>
      <RangeField
        label="Temperature"
        min={0}
        max={MOST_TEMPERATURE}
        step={0.05}
        value={settings.temperature}
        output={settings.temperature === 0 ? '0, the likeliest' : rounded(settings.temperature)}
        onChange={(temperature) => set({ temperature })}
      />
      <RangeField
        label="Most tokens"
        min={0}
        max={mostTokens}
        step={mostTokens / 40}
        value={Math.log2(settings.maxTokens)}
        output={counted(settings.maxTokens, 'token')}
        onChange={(moved) => set({ maxTokens: Math.max(1, Math.round(2 ** moved)) })}
      />
      {settings.temperature > 0 && (
        <TextField
          label="Seed"
          isNumber
          value={String(settings.seed)}
          onChange={(text) => {
            const seed = Number(text);
            if (Number.isInteger(seed) && seed >= 0 && seed <= MOST_SEED) set({ seed });
          }}
        />
      )}
    </>
  );
}
