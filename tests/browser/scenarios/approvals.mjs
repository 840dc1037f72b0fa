// Machines that wait: the fleet page says so, the page has their fingerprints, an answer takes effect at once, from wherever it comes.
import { assert, devices, enter, join, murmesh, open, scenario, settled, until, visit } from '../lib.mjs';

await scenario(async (browser) => {
	const page = await open(browser);
	await enter(page);
	await settled(page);
	const wait = async (name) => {
		join((await murmesh('key', 'new', '--approve')).trim(), name);
		return until(async () => JSON.parse(await murmesh('approve', '--json')).find((row) => row.name === name), `${name} waits`);
	};
	const first = await wait('first');
	await page.getByText('1 machine waits for approval').waitFor();
	const second = await wait('second');
	const third = await wait('third');
	await page.getByText('3 machines wait for approval').waitFor();
	await page.getByRole('link', { name: 'Show' }).click();
	await page.getByRole('heading', { name: 'Waiting for approval' }).waitFor();
	const row = (machine) => page.getByRole('listitem').filter({ hasText: machine.full_name });
	for (const machine of [first, second, third]) {
		assert((await row(machine).innerText()).includes(machine.fingerprint));
		assert((await row(machine).innerText()).includes('from 127.0.0.1'));
	}

	await row(first).getByRole('button', { name: 'Approve' }).click();
	await row(first).waitFor({ state: 'detached' });
	await row(second).getByRole('button', { name: 'Reject' }).click();
	await row(second).waitFor({ state: 'detached' });
	await murmesh('approve', third.full_name);
	await row(third).waitFor({ state: 'detached' });
	await page.getByText('No machine waits').waitFor();

	await visit(page, '/');
	await page.getByText(first.name, { exact: false }).first().waitFor();
	await until(async () => (await devices()).filter(({ name, online }) => online && ['first', 'third'].includes(name)).length === 2, 'both are online', 60);
	assert(!(await devices()).some(({ name }) => name === 'second'));
	assert.equal(await page.getByText(/waits? for approval/).count(), 0);

	// The line made by the dialog, and the answer in it.
	await page.getByRole('button', { name: 'Add a device' }).click();
	await page.getByRole('checkbox', { name: /waits until/ }).check();
	await page.getByText('--approve').waitFor();
	await page.getByRole('button', { name: 'Make the line' }).click();
	const line = (await page.getByText(/^murmesh join /).innerText()).replace('murmesh join ', '').trim();
	join(line, 'fourth');
	const dialog = page.getByRole('dialog');
	await dialog.getByRole('button', { name: 'Approve' }).click();
	await dialog.getByText('has joined').waitFor();
});
