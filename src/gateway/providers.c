#include "gateway/providers.h"

#include "base/err.h"
#include "gateway/gateway.h"
#include "rpc/rpc.h"
#include "services.h"

void providers_init(struct providers *providers, struct io_loop *loop)
{
	*providers = (struct providers){ .loop = loop };
}

void providers_done(struct providers *providers)
{
	rpc_connection_drop(&providers->of_core);
	rpc_connection_drop(&providers->of_web);
	rpc_connection_drop(&providers->of_viz);
	rpc_connection_drop(&providers->collect);
	rpc_connection_drop(&providers->viz);
}

/* ---- who is asked ---- */

static int ask(struct rpc_connection *here, struct rpc_connection *far, struct rpc_call *call)
{
	if (here)
		return rpc_proxy(call, here);
	return far && rpc_connection_has_room(far) ? rpc_proxy(call, far)
	                                           : -E_BUSY; /* nothing waits for a machine that takes no more */
}

int providers_ask(struct providers *providers, struct rpc_call *call)
{
	struct str path = rpc_call_path(call);
	if (str_is(path, rpc_Reports_Send.path) || str_is(path, rpc_Events_Follow.path))
		return ask(providers->collect, providers->far_collect, call);
	if (str_is(path, rpc_Viz_Announce.path) || str_is(path, rpc_Viz_EndWatches.path) || str_is(path, rpc_Viz_Watch.path))
		return ask(providers->viz, providers->far_viz, call);
	return -E_UNSUPPORTED;
}

uint32_t providers_come(struct providers *providers, uint32_t roles, struct rpc_connection *connection)
{
	uint32_t taken = 0;
	if (roles & murmesh_ComponentRole_COMPONENT_COLLECT && !providers->has_collect && !providers->far_collect) {
		providers->far_collect = connection;
		taken |= murmesh_ComponentRole_COMPONENT_COLLECT;
	}
	if (roles & murmesh_ComponentRole_COMPONENT_VIZ && !providers->has_viz && !providers->far_viz) {
		providers->far_viz = connection;
		taken |= murmesh_ComponentRole_COMPONENT_VIZ;
	}
	return taken;
}

void providers_go(struct providers *providers, const struct rpc_connection *connection)
{
	if (providers->far_collect == connection)
		providers->far_collect = NULL;
	if (providers->far_viz == connection)
		providers->far_viz = NULL;
}

/* ---- roles here ---- */

static int on_core_open(void *ctx, struct rpc_call *call)
{
	struct str path = rpc_call_path(call);
	bool may = str_is(path, rpc_Viz_Announce.path) || str_is(path, rpc_Viz_EndWatches.path);
	return may ? providers_ask(ctx, call) : -E_UNSUPPORTED;
}

static int on_web_open(void *ctx, struct rpc_call *call)
{
	return str_is(rpc_call_path(call), rpc_Viz_Watch.path) ? providers_ask(ctx, call) : -E_UNSUPPORTED;
}

static int on_viz_open(void *ctx, struct rpc_call *call)
{
	return str_is(rpc_call_path(call), rpc_Events_Follow.path) ? providers_ask(ctx, call) : -E_UNSUPPORTED;
}

bool providers_descriptor(struct providers *providers, const char *name, int fd)
{
	static const struct rpc_connection_events collect = { NULL, NULL, NULL }, viz = { NULL, NULL, NULL },
	                                          of_core = { on_core_open, NULL, NULL }, of_web = { on_web_open, NULL, NULL },
	                                          of_viz = { on_viz_open, NULL, NULL };
	static const struct rpc_connection_settings call = { .server = false },
	                                            serve = { .server = true, .max_streams = GATEWAY_RELAY_CALLS };
	const struct {
		const char *name;
		struct rpc_connection **at;
		const struct rpc_connection_events *events;
		const struct rpc_connection_settings *settings;
	} rows[] = {
		{ "rpc-to:collect", &providers->collect, &collect, &call }, { "rpc-to:viz", &providers->viz, &viz, &call },
		{ "rpc-from:core", &providers->of_core, &of_core, &serve }, { "rpc-from:web", &providers->of_web, &of_web, &serve },
		{ "rpc-from:viz", &providers->of_viz, &of_viz, &serve },
	};
	providers->has_collect |= str_is(str_from(name), rows[0].name);
	providers->has_viz |= str_is(str_from(name), rows[1].name);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (str_is(str_from(name), rows[i].name)) {
			rpc_connection_replace(rows[i].at, providers->loop, fd, rows[i].settings, rows[i].events, providers);
			return true;
		}
	return false;
}
