// Two machines show one identity: the page says what that is, and takes each answer.
import { assert, enter, murmesh, open, scenario, settled, visit } from '../lib.mjs';

await scenario(async (browser) => {
	const page = await open(browser);
	await enter(page);
	await visit(page, '/approvals');
	await settled(page);
	const row = (name) => page.getByRole('listitem').filter({ hasText: name });
	assert((await row('dolly-1').innerText()).includes('Two machines show this identity'));
	assert(!(await row('dolly-1').innerText()).includes('Fingerprint'));
	await row('dolly-1').getByRole('button', { name: 'A copy:' }).click();
	await row('dolly-1').waitFor({ state: 'detached' });
	await row('polly-1').getByRole('button', { name: 'One machine' }).click();
	await row('polly-1').waitFor({ state: 'detached' });
	const audit = JSON.parse(await murmesh('audit', 'ls', '--json')).map((event) => `${event.object} ${event.action}`);
	assert(audit.includes('dolly-1 copy let in as a machine of its own') && audit.includes('polly-1 copy taken for the machine itself'));
});
