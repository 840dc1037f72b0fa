export const shell = {
	product: 'murmesh',
	navigation: 'Main',
	skip: 'Skip to content',
	fleet: { title: 'Fleet' },
	unreachable: {
		banner: (seconds: number) => `Server unreachable, trying again in ${seconds} s.`,
		connecting: 'Server unreachable, trying now…',
		now: 'Try now',
		what: 'The server does not answer.',
		why: 'It is not running, or the network between is interrupted.',
		try: 'Check the server and your network; the console tries again by itself.',
	},
	loading: 'Loading…',
	missing: { title: 'No such page', text: 'The address names no page of the console.', back: 'To the fleet' },
};
