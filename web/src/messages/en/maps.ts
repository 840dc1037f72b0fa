// Loaded with its page, not with the first view.
import { number } from '../../ui/text';

const count = (n: number, one: string, many: string) => `${number(n)} ${n === 1 ? one : many}`;

export const maps = {
	lead: 'Who is connected to which device now: the connections of port maps, terminals and commands.',
	open: 'Open',
	count: (n: number) => count(n, 'connection', 'connections'),
	filter: 'Filter by user, device or target',
	noMatch: 'Nothing here matches the filter',
	user: 'User',
	device: 'Device',
	target: 'Target',
	commands: 'terminal, commands',
	sent: 'Sent',
	received: 'Received',
	rate: 'Now',
	perSecond: (bytes: string) => `${bytes}/s`,
	idle: 'idle',
	path: 'Path',
	via: (path: string[]) => path.join(' › '),
	since: 'Since',
	end: 'End',
	endOf: (user: string, device: string) => `the connection of ${user} to ${device}`,
	ending: {
		title: (user: string, device: string) => `End the connection of ${user} to ${device}?`,
		text: (target: string) =>
			`The connection to ${target} breaks at once, at both ends. This takes no right away: another one may be opened. To shut somebody out, disable the user.`,
		button: 'End it',
		done: (user: string, device: string) => `The connection of ${user} to ${device} is ended`,
	},
	failed: 'Failed lately, or ended by somebody',
	why: 'What happened',
	when: 'When',
	more: (n: number) => `Show ${number(n)} more`,
	empty: 'No map is open',
	emptyText: 'A port of a device, or of its network, becomes one of your own machine with',
	example: 'murmesh map TCP:0:web02:HTTP:80',
};
