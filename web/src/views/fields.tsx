/** The few kinds of controls that settings are made of. */
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';

export interface Option<T extends string> {
  readonly value: T;
  readonly label: string;
  /** Shown instead of the label. */
  readonly icon?: ComponentChildren;
  /** Why it cannot be chosen. */
  readonly disabled?: string;
}

interface ChoiceProps<T extends string> {
  readonly value: T;
  readonly options: readonly Option<T>[];
  readonly onChange: (value: T) => void;
}

/** A few choices side by side; arrow keys move between them, as in every group of radio buttons. */
export function Segments<T extends string>({
  legend,
  name,
  value,
  options,
  onChange,
}: ChoiceProps<T> & { readonly legend: string; readonly name: string }) {
  return (
    <fieldset class="segments">
      <legend class="unseen-text">{legend}</legend>
      {options.map((option) => (
        <label
          key={option.value}
          title={option.disabled ?? (option.icon ? option.label : undefined)}
        >
          <input
            type="radio"
            name={name}
            value={option.value}
            checked={option.value === value}
            disabled={option.disabled !== undefined}
            onChange={() => onChange(option.value)}
          />
          <span>
            {option.icon}
            <span class={option.icon === undefined ? '' : 'unseen-text'}>{option.label}</span>
          </span>
        </label>
      ))}
    </fieldset>
  );
}

let numFields = 0;

// Preact's own useId gives the same id twice where a field appears later than its neighbours
const useFieldId = (): string => useState(() => `field-${(numFields += 1)}`)[0];

/** A label with a control below it, and a line that explains it. */
function Field({
  id,
  label,
  about,
  output,
  children,
}: {
  readonly id: string;
  readonly label: string;
  readonly about?: string | undefined;
  readonly output?: string | undefined;
  readonly children: ComponentChildren;
}) {
  return (
    <div class="field">
      <div class="field-head">
        <label for={id}>{label}</label>
        {output !== undefined && <span>{output}</span>}
      </div>
      {children}
      {about !== undefined && (
        <p class="about" id={`${id}-about`}>
          {about}
        </p>
      )}
    </div>
  );
}

const described = (id: string, about: string | undefined) =>
  about === undefined ? {} : { 'aria-describedby': `${id}-about` };

export function SelectField<T extends string>({
  label,
  about,
  value,
  options,
  onChange,
}: ChoiceProps<T> & { readonly label: string; readonly about?: string | undefined }) {
  const id = useFieldId();
  return (
    <Field id={id} label={label} about={about}>
      <select
        id={id}
        value={value}
        {...described(id, about)}
        onChange={({ currentTarget }) => onChange(currentTarget.value as T)}
      >
        {options.map((option) => (
          <option key={option.value} value={option.value} disabled={option.disabled !== undefined}>
            {option.label}
          </option>
        ))}
      </select>
    </Field>
  );
}

export function RangeField({
  label,
  about,
  value,
  min,
  max,
  step,
  output,
  onChange,
}: {
  readonly label: string;
  readonly about?: string;
  readonly value: number;
  readonly min: number;
  readonly max: number;
  readonly step: number;
  /** The value as people read it. */
  readonly output: string;
  readonly onChange: (value: number) => void;
}) {
  const id = useFieldId();
  return (
    <Field id={id} label={label} about={about} output={output}>
      <input
        id={id}
        type="range"
        min={min}
        max={max}
        step={step}
        value={value}
        aria-valuetext={output}
        {...described(id, about)}
        onInput={({ currentTarget }) => onChange(currentTarget.valueAsNumber)}
      />
    </Field>
  );
}

/** A text or a whole number; what cannot be used is not handed on. */
export function TextField({
  label,
  about,
  value,
  isNumber = false,
  onChange,
}: {
  readonly label: string;
  readonly about?: string;
  readonly value: string;
  readonly isNumber?: boolean;
  readonly onChange: (value: string) => void;
}) {
  const id = useFieldId();
  return (
    <Field id={id} label={label} about={about}>
      <input
        id={id}
        type="text"
        value={value}
        inputMode={isNumber ? 'numeric' : 'text'}
        autocomplete="off"
        spellcheck={false}
        {...described(id, about)}
        onChange={({ currentTarget }) => onChange(currentTarget.value)}
      />
    </Field>
  );
}
