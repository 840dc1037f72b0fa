// Runs while the rest of the page is still on its way: opens the connection with the ticket that the server has put into the page, so that the first
// rows are there when the page can draw them.  It imports nothing: vite.config.ts makes it a script inside the page.
import type { Opened } from './socket';
import type { Account } from './api.generated';

interface Early {
	dial(ticket: string): WebSocket;
	/** Who is logged in; undefined: to be asked. */
	account?: Account;
	/** For whoever opens first. */
	opened?: Opened | undefined;
}

declare global {
	var early: Early;
}

const dial = (ticket: string) => new WebSocket(`${location.origin.replace(/^http/, 'ws')}/ws?ticket=${encodeURIComponent(ticket)}`);

const open = (ticket: string): Opened => {
	const opened: Opened = { socket: dial(ticket), asked: [], received: [] };
	opened.socket.onopen = () => {
		opened.socket.send(JSON.stringify({ op: 'subscribe', channel: 'fleet' }));
		opened.asked.push('fleet');
	};
	opened.socket.onmessage = ({ data }) => void opened.received.push(data);
	return opened;
};

const start = (text: string): Early => {
	const { account, ticket } = JSON.parse(text) as { account: Account; ticket: string };
	return { dial, account, opened: account.setup_wanted ? undefined : open(ticket) };
};

const given = document.getElementById('session')?.textContent;
globalThis.early = given ? start(given) : { dial };
