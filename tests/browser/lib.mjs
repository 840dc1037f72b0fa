// What scenarios share: a browser, pages that are watched, and the command line.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { promisify } from 'node:util';

const require = createRequire(new URL('../../web/package.json', import.meta.url));
const { chromium } = require('playwright-core');
const axeSource = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

/** What conftest.py says: url, login, directory, murmesh, pictures, patience, and what the test adds. */
export const given = JSON.parse(readFileSync(0, 'utf8'));
export { assert };

/** xterm.js says so on a busy machine. */
const HARMLESS = /^console: task queue exceeded allotted deadline/;

/** Runs in every page before its own scripts: what must never happen is told at once. */
function watch() {
	const tell = (text) => globalThis.complain(text);
	document.addEventListener('securitypolicyviolation', (event) =>
		tell(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber} ${event.sample}`));
	Object.defineProperty(globalThis, 'pwned', { set: (value) => tell(`script ran: ${value}`), get: () => undefined });
}

/** Plays `run(browser)`; prints why it failed, with a picture of each open page. */
export async function scenario(run) {
	const browser = await chromium.launch({ executablePath: given.chromium, args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] });
	const pages = [];
	browser.watched = pages;
	try {
		let late;
		const deadline = new Promise((_, fail) => (late = setTimeout(() => fail(new Error(`not over after ${given.seconds} s`)), given.seconds * 1000)));
		await Promise.race([run(browser), deadline]);
		clearTimeout(late);
		for (const page of pages) assert.deepEqual(page.complaints, []);
	} catch (error) {
		process.exitCode = 1;
		console.log(error.stack);
		for (const [i, page] of pages.entries()) {
			if (page.complaints.length) console.log(`complaints: ${page.complaints.join('\n')}`);
			if (page.isClosed()) continue;
			console.log(`${page.url()}\n${(await page.locator('body').innerText().catch(() => '')).slice(0, 1500)}`);
			await page.screenshot({ path: `${given.pictures}/failed-${i}.png`, caret: 'initial' }).catch(() => {});
		}
	} finally {
		await browser.close();
		process.exit(); // children do not hold it
	}
}

/** A page in a context of its own.  `expected`: console messages that this scenario causes on purpose. */
export async function open(browser, { theme = 'dark', width = 1280, height = 900, expected = [], ...more } = {}) {
	const context = await browser.newContext({ ignoreHTTPSErrors: true, colorScheme: theme, viewport: { width, height }, ...more });
	context.setDefaultTimeout(30_000 * given.patience);
	const page = await context.newPage();
	const complaints = (page.complaints = []);
	const complain = (text) => [HARMLESS, ...expected].some((pattern) => pattern.test(text)) || complaints.push(text);
	await context.exposeFunction('complain', complain);
	await context.addInitScript(watch);
	page.on('console', (message) => ['error', 'warning'].includes(message.type()) && complain(`console: ${message.text()} ${message.location().url}`));
	page.on('pageerror', (error) => complain(`error: ${error.stack}`));
	page.on('dialog', (dialog) => {
		complain(`dialog: ${dialog.message()}`);
		void dialog.dismiss();
	});
	page.on('popup', (popup) => complain(`window: ${popup.url()}`));
	context.on('request', (request) => {
		const { origin, protocol } = new URL(request.url());
		if (origin !== new URL(given.url).origin && !['data:', 'blob:'].includes(protocol)) complain(`foreign: ${request.url()}`);
	});
	browser.watched.push(page);
	return page;
}

export const at = (path) => new URL(path, given.url).href;

/** Until the page shows what it is for. */
export async function settled(page) {
	await page.locator('h1').first().waitFor({ state: 'attached' });
	await page.waitForFunction(() => !document.querySelector('.loading'));
}

export async function visit(page, path) {
	await page.goto(at(path));
	await settled(page);
}

/** Every page there is, for a device. */
export const pagesOf = (id) => ['/', '/live', '/maps', '/relays', '/people', '/audit', '/tasks', '/approvals', '/me', '/command-line', `/devices/${id}`, `/devices/${id}/live`, `/devices/${id}/terminal`, '/nowhere'];

/** The six digits of an authenticator (RFC 6238), now or so many steps later: each is good once. */
export function totp(secret, later = 0) {
	const bits = [...secret.replaceAll(/[\s=]/g, '').toUpperCase()].map((letter) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0')).join('');
	const key = Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
	const counter = Buffer.alloc(8);
	counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + later));
	const mac = createHmac('sha1', key).update(counter).digest();
	return String((mac.readUInt32BE(mac[19] & 15) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

/** `murmesh join` in the background; ends with the scenario at the latest. */
export function join(line, name) {
	const words = ['--pdeathsig', 'KILL', '--', given.murmesh, 'join', line, '--dir', `${given.pictures}/${name}`, '--name', name];
	return spawn('setpriv', words, { stdio: 'ignore' });
}

/** In by a one-time link: as whoever made it, without a password. */
export async function enter(page, link = given.login) {
	await page.goto(link);
	await page.getByRole('navigation').first().waitFor();
}

/** In as the administrator; what needs a fresh proof asks for the password again, unlike behind a link. */
export async function enterByPassword(page) {
	await page.goto(at('/login'));
	await page.getByLabel('Name', { exact: true }).fill(given.name);
	await page.getByLabel('Password', { exact: true }).fill(given.password);
	await page.getByRole('button', { name: 'Log in', exact: true }).click();
	await page.getByRole('navigation').first().waitFor();
}

export async function murmesh(...words) {
	const { stdout } = await promisify(execFile)(given.murmesh, ['--dir', given.directory, ...words], { timeout: 30_000 * given.patience });
	return stdout;
}

export const devices = async () => JSON.parse(await murmesh('ls', '--json'));
export const deviceId = async (name) => (await devices()).find((device) => device.name === name).id;

/** Waits until `condition()` is true, and returns its value. */
export async function until(condition, what, seconds = 30) {
	const deadline = performance.now() + seconds * 1000 * given.patience;
	for (;;) {
		const value = await condition();
		if (value) return value;
		if (performance.now() > deadline) throw new Error(`not within ${seconds} s: ${what}`);
		await new Promise((done) => setTimeout(done, 30));
	}
}

/** Nothing fades or slides any more; what moves for ever may. */
const still = () => Promise.allSettled(document.getAnimations().filter((one) => one.effect.getComputedTiming().endTime < Infinity).map((one) => one.finished));

/** What axe-core finds on the page as it is once nothing fades any more, one line each. */
export async function findings(page) {
	await page.evaluate(still);
	await page.evaluate(axeSource);
	const result = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
	return result.violations.flatMap(({ id, help, nodes }) => nodes.map((node) => `${id}: ${help}: ${node.html.slice(0, 200)} ${node.failureSummary.replaceAll('\n', ' ')}`));
}

/** Pixels by which the page is wider than the window. */
export const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
