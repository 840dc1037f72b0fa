// The page's lines, as they stand there, get the program; it is the server's own, and can be asked.
import { execFileSync } from 'node:child_process';
import { assert, enter, findings, given, open, overflow, scenario, settled } from '../lib.mjs';

await scenario(async (browser) => {
	const page = await open(browser);
	await enter(page);
	await page.getByRole('button', { name: 'Account' }).click();
	await page.getByRole('link', { name: 'Get the command line' }).click();
	await settled(page);
	await page.getByRole('heading', { name: 'Download' }).waitFor();
	for (const theme of ['dark', 'light']) {
		await page.emulateMedia({ colorScheme: theme });
		for (const width of [1280, 390]) {
			await page.setViewportSize({ width, height: 900 });
			await page.screenshot({ path: `${given.pictures}/command-line-${theme}-${width}.png` });
			assert((await overflow(page)) <= 0, `at ${width}`);
		}
		assert.deepEqual(await findings(page), []);
	}
	const [get, check, , login] = await page.locator('main code[role=group]').allInnerTexts();
	const run = (line) => execFileSync('sh', ['-c', line], { cwd: given.pictures, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
	run(get);
	assert.equal(run(check), 'murmesh: OK\n');
	assert.match(run('./murmesh version'), /^murmesh \d/);
	assert.equal(login, `./murmesh login ${new URL(given.url).host}`);
});
