// A device becomes a relay, the devices of another are moved to it, and it is a relay no longer; what waits is shown.
import { assert, devices, enterByPassword, findings, given, open, overflow, scenario, settled, until, visit } from '../lib.mjs';

await scenario(async (browser) => {
	const page = await open(browser);
	await enterByPassword(page);
	const now = async (name) => (await devices()).find((device) => device.name === name);
	const press = (name) => page.getByRole('button', { name, exact: true }).click();
	const dialog = page.getByRole('dialog');
	const tree = page.getByRole('region', { name: 'Tree' });
	const row = (name) => tree.getByRole('listitem').filter({ has: page.getByRole('link', { name: new RegExp(`^${name}-`) }) });
	const pages = async (what, test) => {
		for (const theme of ['dark', 'light']) {
			await page.emulateMedia({ colorScheme: theme });
			for (const width of [1280, 390]) {
				await page.setViewportSize({ width, height: 900 });
				await page.screenshot({ path: `${given.pictures}/${what}-${theme}-${width}.png` });
				assert((await overflow(page)) <= 0, `${what} at ${width}`);
			}
			assert.deepEqual(await findings(page), []);
		}
		await page.emulateMedia({ colorScheme: 'dark' });
		await page.setViewportSize({ width: 1280, height: 900 });
	};

	await page.getByRole('link', { name: /^north02-/ }).click();
	await settled(page);
	await press('Make it a relay');
	await dialog.getByText('murmesh relay enable north02').waitFor();
	await dialog.getByRole('button', { name: 'Make it a relay' }).click();
	await page.getByRole('button', { name: 'No longer a relay' }).waitFor();

	await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Relays' }).click();
	await settled(page);
	await row('north01').getByText('1 of 1 device online').waitFor();
	await row('north01').getByText('Certificate until').waitFor();
	await row('north01').getByText(/^[0-9.,]+ ms there and back/).waitFor();
	await row('north02').getByText('127.0.0.1:').waitFor();
	await row('north02').getByText('no devices').waitFor();
	await page.getByRole('region', { name: 'Messages that wait' }).getByRole('row', { name: /^north04-\d+ offline 1 / }).waitFor();
	await pages('relays');

	// Its devices, as the fleet page shows them by that query.
	await row('north01').getByRole('link', { name: /^1 of 1 device online/ }).click();
	await page.getByRole('link', { name: /^north03-/ }).waitFor();
	await page.getByRole('status').getByText(/^1 of /).waitFor();
	await visit(page, '/relays');

	await row('north01').getByRole('button', { name: /^Move devices/ }).click();
	await dialog.getByRole('heading', { name: /^Move 1 device away from north01-/ }).waitFor();
	await dialog.getByLabel('New parent').selectOption({ label: await dialog.getByRole('option', { name: /^north02-/ }).innerText() });
	await dialog.getByText(/^murmesh relay move parent:[0-9a-f]{32} north02-/).waitFor();
	await pages('move');
	await dialog.getByRole('button', { name: 'Move 1 device' }).click();
	await dialog.waitFor({ state: 'hidden' });
	await row('north02').getByText('1 of 1 device online').waitFor();
	await until(async () => (await now('north03')).parent.startsWith('north02-'), 'it links to the other relay');

	await row('north02').getByRole('link', { name: /^north02-/ }).click();
	await press('No longer a relay');
	await dialog.getByText('1 device links to it now.').waitFor();
	await pages('disable');
	await dialog.getByRole('button', { name: 'No longer a relay' }).click();
	await page.getByRole('button', { name: 'Make it a relay' }).waitFor();
	// Who was below it goes back to the parent that it knows.
	await visit(page, '/relays');
	await row('north01').getByText('1 of 1 device online').waitFor();
	assert.equal(await row('north02').count(), 0);
});
