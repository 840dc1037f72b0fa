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

int providers_ask(struct providers *providers, struct rpc_call *call)
{
	struct str path = rpc_call_path(call);
	struct rpc_connection *at;
	if (str_is(path, rpc_Reports_Send.path) || str_is(path, rpc_Events_Follow.path))
		at = providers->far_collect ? providers->far_collect : providers->collect;
	else if (str_is(path, rpc_Viz_Announce.path) || str_is(path, rpc_Viz_EndWatches.path) || str_is(path, rpc_Viz_Watch.path))
		at = providers->far_viz ? providers->far_viz : providers->viz;
	else
		return -E_UNSUPPORTED;
	return at ? rpc_proxy(call, at) : -E_BUSY;
}

void providers_come(struct providers *providers, uint32_t roles, struct rpc_connection *connection)
{
	if (roles & murmesh_ComponentRole_COMPONENT_COLLECT)
		providers->far_collect = connection;
	if (roles & murmesh_ComponentRole_COMPONENT_VIZ)
		providers->far_viz = connection;
}

void providers_go(struct providers *providers, const struct rpc_connection *connection)
{
	if (providers->far_collect == connection)
		providers->far_collect = NULL;
	if (providers->far_viz == connection)
		providers->far_viz = NULL;
}

/* ---- roles here ---- */

static int on_open(void *ctx, struct rpc_call *call)
{
	return providers_ask(ctx, call);
}

static void on_collect_closed(void *ctx, int err)
{
	(void)err;
	rpc_connection_drop(&((struct providers *)ctx)->collect);
}

static void on_viz_closed(void *ctx, int err)
{
	(void)err;
	rpc_connection_drop(&((struct providers *)ctx)->viz);
}

static void on_of_core_closed(void *ctx, int err)
{
	(void)err;
	rpc_connection_drop(&((struct providers *)ctx)->of_core);
}

static void on_of_web_closed(void *ctx, int err)
{
	(void)err;
	rpc_connection_drop(&((struct providers *)ctx)->of_web);
}

static void on_of_viz_closed(void *ctx, int err)
{
	(void)err;
	rpc_connection_drop(&((struct providers *)ctx)->of_viz);
}

bool providers_descriptor(struct providers *providers, const char *name, int fd)
{
	static const struct rpc_connection_events collect = { NULL, NULL, on_collect_closed }, viz = { NULL, NULL, on_viz_closed },
	                                          of_core = { on_open, NULL, on_of_core_closed },
	                                          of_web = { on_open, NULL, on_of_web_closed },
	                                          of_viz = { on_open, NULL, on_of_viz_closed };
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
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (str_is(str_from(name), rows[i].name)) {
			rpc_connection_replace(rows[i].at, providers->loop, fd, rows[i].settings, rows[i].events, providers);
			return true;
		}
	return false;
}
