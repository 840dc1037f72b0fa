// The server goes away and comes back: the page says so, and is whole again by itself.
import { appendFileSync } from 'node:fs';
import { enter, given, open, scenario, settled, until } from '../lib.mjs';

await scenario(async (browser) => {
	const page = await open(browser, { expected: [/WebSocket|ERR_CONNECTION|Failed to load resource|ERR_/] });
	await enter(page);
	await settled(page);
	await page.getByRole('row').filter({ hasText: given.host }).getByText('online', { exact: true }).waitFor();
	console.log('stop');
	appendFileSync(given.signals, 'stop\n');
	await page.getByText(/Server unreachable, trying/).waitFor();
	appendFileSync(given.signals, 'start\n');
	await until(async () => (await page.getByText(/Server unreachable/).count()) === 0, 'the server is back', 40);
	await page.getByRole('row').filter({ hasText: given.host }).getByText('online', { exact: true }).waitFor();
});
