import './styles/tokens.css';
import './styles/base.css';
import { mount } from 'svelte';
import App from './app.svelte';
import { startRouter } from './router.svelte';
import { startSession } from './session.svelte';
import { startTheme } from './theme.svelte';

startTheme();
startRouter();
// What comes within a moment is drawn at once, and no "loading" before it.
await Promise.race([startSession(), new Promise((resolve) => setTimeout(resolve, 100))]);
mount(App, { target: document.getElementById('app')! });
