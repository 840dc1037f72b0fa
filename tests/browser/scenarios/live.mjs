// The live page shows what starts, runs, talks and ends after it was opened.
import { connect, createServer } from 'node:net';
import { spawn } from 'node:child_process';
import { assert, deviceId, enter, given, open, scenario, until, visit } from '../lib.mjs';

await scenario(async (browser) => {
	const page = await open(browser);
	await enter(page);
	await visit(page, `/devices/${await deviceId(given.host)}/live`);
	await page.locator('[data-complete=true]').waitFor();
	await page.getByText(/process: /).waitFor();

	const table = (name) => page.getByRole('table', { name });
	const tab = (name) => page.getByRole('tab', { name }).click();

	// A process that lives long enough to be looked at.
	const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', 'sleep', '86399'], { stdio: 'ignore' });
	await page.getByRole('searchbox').fill('86399');
	await page.getByText('1 match').waitFor();
	await page.getByRole('searchbox').press('Enter');
	const details = page.getByRole('complementary', { name: 'Details' });
	await details.getByText(String(child.pid)).waitFor();
	await details.getByText('sleep 86399').waitFor();
	await tab('Events');
	const events = table('Events, newest first');
	await events.getByText('sleep 86399').first().waitFor();
	child.kill();
	await page.getByText('No match').waitFor();
	await details.getByText('It has ended.').waitFor();
	await details.getByRole('button', { name: 'Close' }).click();
	await details.waitFor({ state: 'hidden' });
	await page.getByRole('searchbox').fill('');

	// A connection of this very process.
	const server = createServer((connection) => connection.on('error', () => {}).resume()).listen(0, '127.0.0.1');
	await new Promise((done) => server.once('listening', done));
	const talker = connect(server.address().port, '127.0.0.1');
	const talking = setInterval(() => talker.write(Buffer.alloc(20000)), 50);
	await page.getByRole('searchbox').fill(String(process.pid));
	await tab('Connections');
	const row = table('Connections now').getByRole('row').nth(1);
	await row.getByRole('button', { name: 'node' }).waitFor();
	await row.getByText('127.0.0.1').waitFor();
	await row.getByText(/KiB\/s$/).waitFor();
	clearInterval(talking);
	talker.destroy();
	server.close();
	await page.getByRole('searchbox').fill('');

	// Paused, it stands still; afterwards it has all.
	await page.getByRole('button', { name: 'Pause' }).click();
	await tab('Events');
	const newest = () => events.getByRole('row').nth(1).innerText();
	const before = await newest();
	for (let i = 0; i < 5; i++) spawn('true');
	await page.evaluate(() => new Promise((done) => setTimeout(done, 700)));
	assert.equal(await newest(), before);
	await page.getByRole('button', { name: 'Go on' }).click();
	await until(async () => (await newest()) !== before, 'it goes on');

	// The picture as a file.
	const download = page.waitForEvent('download');
	await page.getByRole('button', { name: 'Save as PNG' }).click();
	assert.match((await download).suggestedFilename(), /^murmesh-.*\.png$/);
	assert(Number(await page.locator('canvas').getAttribute('data-nodes')) > 5);

	// The fleet's picture has both machines, by name.
	await visit(page, '/live');
	await page.locator('[data-complete=true]').waitFor();
	for (const name of ['web02', given.host]) {
		await page.getByRole('searchbox').fill(name);
		await page.getByText(/^\d+ match/).waitFor();
	}
	await page.screenshot({ path: `${given.pictures}/live.png`, caret: 'initial' });
});
