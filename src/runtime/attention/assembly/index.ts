/**
 * The attention kernel: what the WebAssembly module exports. AssemblyScript, not TypeScript.
 *
 * One instance works on one layer's memory, which is imported and shared between threads. The
 * memory begins with a header and staging areas (`memory.ts`); pages of keys and values follow.
 * Nothing here allocates, and there is no static data, so a second instance changes nothing.
 */
export {
  configure,
  firstStaging,
  groupTable,
  pagesStart,
  rowLengths,
  secondStaging,
  tables,
} from './memory';
export { finish, publish, work } from './attend';
export { copyRows, readRows, writeRows } from './rows';
