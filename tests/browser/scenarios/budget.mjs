// What the first view costs: requests, and bytes as they were sent.
import { assert, enter, given, open, scenario, settled } from '../lib.mjs';

await scenario(async (browser) => {
	const page = await open(browser);
	await enter(page);
	const client = await page.context().newCDPSession(page);
	await client.send('Network.enable');
	await client.send('Network.setCacheDisabled', { cacheDisabled: true });
	const urls = new Map();
	const requests = [];
	client.on('Network.requestWillBeSent', ({ requestId, request }) => urls.set(requestId, new URL(request.url).pathname));
	client.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => requests.push([urls.get(requestId), encodedDataLength]));
	await page.goto(given.url);
	await settled(page);
	await page.getByRole('row').nth(1).waitFor();
	const bytes = requests.reduce((sum, [, size]) => sum + size, 0);
	assert(requests.length <= 8, `requests: ${JSON.stringify(requests)}`);
	assert(bytes <= 60 * 1024, `bytes: ${bytes}: ${JSON.stringify(requests)}`);
});
