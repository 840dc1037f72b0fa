import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

// The console of a running server, for `npm run dev`: MURMESH=https://127.0.0.1:8443 npm run dev
const server = process.env.MURMESH ?? 'https://127.0.0.1:8443';
const proxied = {
	target: server,
	changeOrigin: true,
	secure: false,
	headers: { origin: new URL(server).origin },
};

export default defineConfig({
	plugins: [svelte()],
	build: {
		target: 'es2022',
		// No data: URLs and no inline script: the content security policy allows neither.
		assetsInlineLimit: 0,
		modulePreload: { polyfill: false },
		reportCompressedSize: false,
	},
	server: {
		proxy: { '/api': proxied, '/ws': { ...proxied, ws: true } },
	},
	test: {
		include: ['src/**/*.test.ts'],
		environment: 'node',
	},
});
