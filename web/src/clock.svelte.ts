// The present, in seconds since 1970, moving every five seconds for all "3 minutes ago" of the page.
const present = $state({ seconds: Math.floor(Date.now() / 1000) });

setInterval(() => {
	if (!document.hidden) present.seconds = Math.floor(Date.now() / 1000);
}, 5000);

export const clock = {
	get now() {
		return present.seconds;
	},
};
