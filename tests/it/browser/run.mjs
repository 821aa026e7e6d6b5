// Runs the scenes of one file, named on the command line.

import { end } from './browser.mjs';

try {
  const { default: scene } = await import(`./${process.argv[2]}.mjs`);
  await scene();
  await end();
} catch (error) {
  console.error(error);
  await end().catch((other) => console.error('besides:', other));
  process.exit(1);
}
