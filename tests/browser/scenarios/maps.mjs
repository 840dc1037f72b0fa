// Nothing is open; then a connection of a port map is, with its numbers; it is ended by keyboard, and the page says who did that.
import { createServer, connect } from 'node:net';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { assert, at, enterByPassword, findings, given, open, overflow, scenario, settled } from '../lib.mjs';

/** An echo on a port of its own, and the local port of a map to it. */
async function mapped() {
	const echo = createServer((socket) => socket.on('error', () => {}).pipe(socket)).listen(0, '127.0.0.1');
	await once(echo, 'listening');
	const words = ['--pdeathsig', 'KILL', '--', given.murmesh, '--dir', given.directory, 'map', `TCP:0:${given.host}:HTTP:${echo.address().port}`, '--json'];
	const map = spawn('setpriv', words, { stdio: ['ignore', 'pipe', 'ignore'] });
	const [line] = await once(map.stdout, 'data');
	return { target: `localhost:${echo.address().port}`, port: JSON.parse(line).local_port };
}

await scenario(async (browser) => {
	const page = await open(browser);
	await enterByPassword(page);
	const pages = async (what) => {
		for (const theme of ['dark', 'light']) {
			await page.emulateMedia({ colorScheme: theme });
			for (const width of [1280, 660, 390]) {
				await page.setViewportSize({ width, height: 900 });
				await page.screenshot({ path: `${given.pictures}/${what}-${theme}-${width}.png` });
				assert((await overflow(page)) <= 0, `${what} at ${width}`);
			}
			assert.deepEqual(await findings(page), []);
		}
		await page.emulateMedia({ colorScheme: 'dark' });
		await page.setViewportSize({ width: 1280, height: 900 });
	};

	await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Maps' }).click();
	await settled(page);
	assert.equal(page.url(), at('/maps'));
	await page.getByRole('heading', { name: 'No map is open' }).waitFor();
	await page.getByText('murmesh map TCP:0:web02:HTTP:80').waitFor();
	await pages('empty');

	const { target, port } = await mapped();
	const connection = connect(port, '127.0.0.1').on('error', () => {});
	const broken = new Promise((done) => connection.on('close', done));
	connection.resume().write(Buffer.alloc(3 << 20));
	const row = page.getByRole('region', { name: 'Open' }).getByRole('row').filter({ hasText: target }).filter({ hasText: 'MiB' }); // others are kept ready
	await row.getByText(/^3\.\d MiB$/).nth(1).waitFor(); // both ways
	await row.getByRole('cell', { name: 'local', exact: true }).waitFor();
	await row.getByRole('cell', { name: 'server', exact: true }).waitFor();
	await row.getByRole('link', { name: new RegExp(`^${given.host}-`) }).waitFor();
	await row.getByText('idle').waitFor(); // nothing more goes over it
	await pages('open');

	const button = row.getByRole('button', { name: `End the connection of local to ${given.host}-1` });
	await button.focus();
	await page.keyboard.press('Enter');
	const dialog = page.getByRole('dialog');
	await dialog.getByText(`The connection to ${target} breaks at once`).waitFor();
	await pages('end');
	await page.keyboard.press('Escape');
	await dialog.waitFor({ state: 'hidden' });
	assert(await button.evaluate((element) => document.activeElement === element), 'the focus is back');
	await page.keyboard.press('Enter');
	await dialog.getByRole('button', { name: 'End it' }).focus();
	await page.keyboard.press('Enter');
	await broken;
	await row.waitFor({ state: 'detached' });
	await page.getByRole('region', { name: /^Failed lately/ }).getByRole('row').filter({ hasText: target }).getByText(`${given.name} ended it`).waitFor();
	await pages('ended');
});
