import { number } from '../../ui/text';

const count = (n: number, one: string, many: string) => `${number(n)} ${n === 1 ? one : many}`;

export const approvals = {
	title: 'Waiting for approval',
	text: 'Compare the fingerprint with the one that the machine shows, then let it in.',
	waiting: (n: number) => `${count(n, 'machine waits', 'machines wait')} for approval`,
	show: 'Show',
	from: (address: string) => `from ${address}`,
	group: 'into group',
	fingerprint: 'Fingerprint',
	approve: 'Approve',
	reject: 'Reject',
	approved: (name: string) => `${name} is approved`,
	rejected: (name: string) => `${name} is rejected`,
	late: 'Its certificate expired long ago: it was away for more than three months. Approve it when it should come back.',
	component: 'It is to run roles of this server: it will meet agents and users in the server’s place, or carry their tunnels.',
	roles: 'Roles',
	reach: 'at the address that it names',
	copy:
		'Two machines show this identity: somebody copied its disk, or it was put back to an earlier state. Neither works until you say what it is.',
	copySplit: 'A copy: make it a machine of its own',
	copySame: 'One machine, put back to an earlier state',
	copyOut: 'Shut the copy out',
	copyDone: (name: string) => `${name} goes on`,
	empty: 'No machine waits',
	emptyText: 'Machines wait here when their join line was made with approval:',
};
