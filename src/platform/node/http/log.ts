/** What a server logs: JSON lines for programs, short lines at a terminal. */
import { pino } from 'pino';
import type { Log } from '../../../serve/index.js';
import { printable } from '../../../util/quote.js';

/** A log of JSON lines, one for each thing that happened. */
export function jsonLog(write: (line: string) => void): Log {
  const logger = pino(
    {
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }) },
    },
    { write },
  );
  return (level, message, fields) => logger[level](fields, message);
}

/** A log of short lines for a person. */
export function terminalLog(write: (line: string) => void, now: () => Date): Log {
  return (level, message, fields) => {
    const { requestId: _, cause, ...rest } = fields;
    const parts = Object.entries(rest).flatMap(([name, value]) =>
      value === undefined ? [] : [`${name} ${printable(JSON.stringify(value))}`],
    );
    const time = now().toTimeString().slice(0, 8);
    const mark = level === 'info' ? '' : `${level}: `;
    write(`${time} ${mark}${message} ${parts.join(', ')}\n`);
    if (typeof cause === 'string') write(`${cause}\n`);
  };
}
