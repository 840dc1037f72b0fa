// A browser on the fleet page, for console.py.  It is driven through its own pipe (Chrome DevTools Protocol) with nothing watched meanwhile:
// what test drivers switch on in every page doubles the time of a first view.  Input: JSON; output: one JSON line a result.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

const SWITCHES = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--ignore-certificate-errors', '--no-first-run', '--disable-extensions'];
const QUIET = ['--disable-background-networking', '--disable-component-update', '--window-size=1280,900'];
const FRAMES = 300;
const KEY_MS = 150;
// What this browser on this machine makes of a key and of a scrolled list when nothing has to be drawn for them.
const EMPTY = 'data:text/html,<search><input></search><div role=grid style="height:700px;overflow:auto"><div style="height:3400000px">';

const given = JSON.parse(readFileSync(0, 'utf8'));
const say = (result) => console.log(JSON.stringify(result));
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

class Browser {
	#child = spawn(given.chromium, [...SWITCHES, ...QUIET, `--user-data-dir=${given.folder}`, '--remote-debugging-pipe', 'about:blank'], {
		stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
	});
	#asked = new Map();
	#rest = '';
	#last = 0;

	constructor() {
		this.#child.stdio[4].setEncoding('utf8').on('data', (data) => {
			const messages = (this.#rest + data).split('\0');
			this.#rest = messages.pop();
			for (const { id, result, error } of messages.map((text) => JSON.parse(text))) this.#asked.get(id)?.(error ? Promise.reject(new Error(error.message)) : result);
		});
	}

	ask(method, params = {}, sessionId = undefined) {
		const id = ++this.#last;
		this.#child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
		return new Promise((done) => this.#asked.set(id, done));
	}

	end() {
		this.#child.kill();
		return new Promise((done) => this.#child.once('exit', done));
	}
}

/** A page with nothing in its caches and the session's cookie. */
class Page {
	static async open(browser) {
		const page = new Page();
		page.browser = browser;
		const { browserContextId } = await browser.ask('Target.createBrowserContext');
		const cookie = { name: '__Host-session', value: given.cookie, url: given.url, secure: true, httpOnly: true, path: '/' };
		await browser.ask('Storage.setCookies', { browserContextId, cookies: [cookie] });
		page.context = browserContextId;
		page.target = (await browser.ask('Target.createTarget', { url: 'about:blank', browserContextId })).targetId;
		page.session = (await browser.ask('Target.attachToTarget', { targetId: page.target, flatten: true })).sessionId;
		await page.ask('Page.enable');
		await page.ask('Page.addScriptToEvaluateOnNewDocument', { source: `(${watch})()` });
		await sleep(1000);
		return page;
	}

	ask(method, params) {
		return this.browser.ask(method, params, this.session);
	}

	/** Runs a function there. */
	async run(work, argument = null) {
		const expression = `(${work})(${JSON.stringify(argument)})`;
		const { result, exceptionDetails } = await this.ask('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
		if (exceptionDetails) throw new Error(exceptionDetails.exception?.description);
		return result.value;
	}

	async close() {
		await this.browser.ask('Target.closeTarget', { targetId: this.target });
		await this.browser.ask('Target.disposeBrowserContext', { browserContextId: this.context });
	}
}

/** Runs before the page's own scripts.  Milliseconds since navigation began; a frame counts once it has been drawn. */
function watch() {
	const drawn = () =>
		new Promise((done) =>
			requestAnimationFrame(() => {
				const { port1, port2 } = new MessageChannel();
				port1.onmessage = () => done(performance.now());
				port2.postMessage(null);
			}),
		);
	const when = (condition) =>
		new Promise((done) => {
			const observer = new MutationObserver(() => {
				if (!condition()) return;
				observer.disconnect();
				done(drawn());
			});
			observer.observe(document, { childList: true, subtree: true, characterData: true, attributes: true });
		});
	const rows = () => (document.querySelector('[role=grid]')?.ariaRowCount ?? 1) - 1;
	globalThis.rows = rows;
	globalThis.tasks = [];
	globalThis.keys = [];
	new PerformanceObserver((list) => globalThis.tasks.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: 'longtask' });
	addEventListener('keydown', ({ timeStamp }) => void drawn().then((time) => globalThis.keys.push(time - timeStamp)), true);
	const first = when(() => rows() > 0);
	globalThis.whole = (devices) => Promise.all([first, rows() >= devices ? performance.now() : when(() => rows() >= devices)]);
}

async function visited(devices) {
	const [first_row_ms, whole_ms] = await globalThis.whole(devices);
	const entries = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
	const kb = entries.reduce((sum, { transferSize }) => sum + transferSize, 0) / 1024;
	return { first_row_ms, whole_ms, longest_task_ms: Math.max(0, ...globalThis.tasks), requests: entries.length + 1, kb };
}

/** Frames of a list that moves by so many pixels in each. */
async function scrolled({ pixels, frames }) {
	const scroller = document.querySelector('[role=grid]');
	const times = [];
	const next = () => new Promise(requestAnimationFrame);
	scroller.scrollTop = 0;
	await next();
	let last = await next();
	for (let i = 0; i < frames; i++) {
		scroller.scrollTop += pixels;
		const now = await next();
		times.push(now - last);
		last = now;
	}
	times.sort((a, b) => a - b);
	return { frames_per_s: (1000 * frames) / times.reduce((sum, time) => sum + time, 0), p95_ms: times[Math.floor(frames * 0.95)], longest_ms: times.at(-1) };
}

function emptied() {
	const input = document.querySelector('search input');
	input.focus();
	input.value = '';
	input.dispatchEvent(new Event('input', { bubbles: true }));
	globalThis.keys.length = 0;
}

async function typed(page, text) {
	await page.run(emptied);
	await sleep(500);
	for (const key of text) {
		await page.ask('Input.dispatchKeyEvent', { type: 'keyDown', key, text: key });
		await page.ask('Input.dispatchKeyEvent', { type: 'keyUp', key });
		await sleep(KEY_MS);
	}
	await sleep(500);
	return page.run(() => ({ keys: globalThis.keys, rows: globalThis.rows() }));
}

async function visit(browser) {
	const page = await Page.open(browser);
	await page.ask('Page.navigate', { url: given.url });
	await sleep(200); // the new page is there, and its script has begun to wait
	return [page, await page.run(visited, given.devices)];
}

async function load(browser) {
	for (let i = 0; i < given.rounds; i++) {
		const [page, result] = await visit(browser);
		say(result);
		await page.close();
	}
}

/** Keys and frames in turns with those of an empty page: other work on the machine meets both. */
async function use(browser) {
	const empty = await Page.open(browser);
	await empty.ask('Page.navigate', { url: EMPTY });
	const [page] = await visit(browser);
	const pages = Object.entries({ fleet: page, empty });
	const turns = Array(given.rounds).fill(pages).flat();
	const show = async ([name, { target }]) => browser.ask('Target.activateTarget', { targetId: target }).then(() => name);
	for (const turn of turns) for (const query of given.queries) say({ page: await show(turn), query, ...(await typed(turn[1], query)) });
	await typed(page, '');
	for (const turn of turns) for (const pixels of given.steps) say({ page: await show(turn), pixels, ...(await turn[1].run(scrolled, { pixels, frames: FRAMES })) });
}

const browser = new Browser();
try {
	await { load, use }[given.what](browser);
} finally {
	await browser.end();
}
process.exit();
