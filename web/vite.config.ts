import { defineConfig } from 'vite';

/** Browsers that know `light-dark()` and `color-mix()`, so that no style is rewritten for older ones. */
const BROWSERS = ['chrome123', 'firefox128', 'safari17.5'];

export default defineConfig({
  // relative addresses: the page works below any path that a proxy puts it at
  base: './',
  build: {
    outDir: '../dist/web',
    emptyOutDir: true,
    target: BROWSERS,
    cssTarget: BROWSERS,
    // the page's policy allows no data: address
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    license: { fileName: 'licences.txt' },
  },
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
});
