function span(seconds: number): string {
	if (seconds < 60) return `${seconds} s`;
	if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
	if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
	return `${Math.floor(seconds / 86400)} d`;
}

export const shell = {
	product: 'murmesh',
	pageTitle: (page: string) => `${page} · murmesh`,
	skip: 'Skip to content',
	close: 'Close',
	cancel: 'Cancel',
	loading: 'Loading…',
	toasts: 'Notes',
	none: 'none',
	unknown: 'unknown',
	navigation: {
		label: 'Main',
		fleet: 'Fleet',
		live: 'Live',
		maps: 'Maps',
		relays: 'Relays',
		tasks: 'Tasks',
		people: 'People',
		audit: 'Audit',
		running: 'running',
	},
	account: {
		menu: 'Account',
		me: 'My account',
		commandLine: 'Get the command line',
		logout: 'Log out',
		role: { viewer: 'Viewer', operator: 'Operator', administrator: 'Administrator' } as Record<string, string>,
	},
	theme: {
		label: 'Theme',
		auto: 'As the system',
		dark: 'Dark',
		light: 'Light',
	},
	copy: { label: 'Copy', button: 'Copy', done: 'Copied', command: 'Copy as command' },
	time: {
		never: 'never',
		relative: (seconds: number) => {
			if (Math.abs(seconds) < 2) return 'now';
			return seconds < 0 ? `in ${span(-seconds)}` : `${span(seconds)} ago`;
		},
		span,
	},
	problem: {
		why: 'Why:',
		try: 'Try:',
		again: 'Try again',
		unexpected: 'Something in the console went wrong.',
		reload: 'Reload the page. When it happens again, report it with this text.',
		part: 'This part of the console could not be loaded.',
		partTry: 'Reload the page: the server may have been updated in the meantime.',
	},
	unreachable: {
		banner: (seconds: number) => `Server unreachable, trying again in ${seconds} s.`,
		connecting: 'Server unreachable, trying now…',
		stale: 'What you see may be old.',
		now: 'Try now',
		what: 'The server does not answer.',
		why: 'It is not running, or the network between is interrupted.',
		try: 'Check the server and your network, then try again.',
	},
	stepUp: {
		title: 'Confirm that it is you',
		text: 'This needs your password once more. After that it is not asked for ten minutes.',
		password: 'Password',
		code: 'Code of your authenticator',
		confirm: 'Confirm',
	},
	missing: { title: 'No such page', text: 'The address names no page of the console.', back: 'To the fleet' },
};
