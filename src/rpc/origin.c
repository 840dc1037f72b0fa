/* Where a call came from before the connection that brought it: metadata murmesh-peer, murmesh-address, murmesh-via and murmesh-component. */
#include "base/err.h"
#include "base/mem.h"
#include "rpc/connection.h"

static bool address_valid(struct str text)
{
	for (size_t i = 0; i < text.len; i++)
		if (!str_has(STR("0123456789abcdefABCDEF.:%"), text.ptr[i]))
			return false;
	return true;
}

static int via_parse(struct str text, struct rpc_origin *ret)
{
	int err = 0;
	while (err == 0 && text.len) {
		struct str one = str_cut(text, ',', &text);
		err = ret->n_via < RPC_VIA_MAX ? id_parse(one, &ret->via[ret->n_via]) : -E_LIMIT;
		ret->n_via += err == 0;
	}
	return err;
}

int origin_read(const struct h2_head *head, struct rpc_origin **ret)
{
	struct str peer = h2_head_get(head, "murmesh-peer"), address = h2_head_get(head, "murmesh-address"),
	           via = h2_head_get(head, "murmesh-via"), component = h2_head_get(head, "murmesh-component");
	*ret = NULL;
	if (!via.ptr && !address.ptr)
		return 0;
	struct rpc_origin *origin = mem_alloc(sizeof *origin);
	if (!origin)
		return -E_NO_MEMORY;
	origin->has_peer = peer.ptr != NULL;
	int err = peer.ptr ? identity_parse(peer, &origin->peer) : 0;
	if (err == 0)
		err = address_valid(address) ? str_copy(address, origin->address, sizeof origin->address) : -E_PROTOCOL;
	if (err == 0)
		err = via_parse(via, origin);
	origin->has_component = component.ptr != NULL;
	if (err == 0 && component.ptr)
		err = id_parse(component, &origin->component);
	if (err < 0)
		mem_free(origin);
	else
		*ret = origin;
	return err;
}

size_t origin_write(const struct rpc_call *call, struct origin_text *text, struct rpc_metadata metadata[RPC_METADATA_MAX])
{
	size_t n = 0, len = 0;
	if (call->has_peer) {
		identity_format(&call->peer, text->peer);
		metadata[n++] = (struct rpc_metadata){ STR("murmesh-peer"), str_from(text->peer) };
	}
	if (!call->origin || !call->believed)
		return n;
	metadata[n++] = (struct rpc_metadata){ STR("murmesh-address"), str_from(call->origin->address) };
	for (size_t i = 0; i < call->origin->n_via; i++) {
		if (i)
			text->via[len++] = ',';
		id_format(&call->origin->via[i], text->via + len);
		len += ID_TEXT_SIZE - 1;
	}
	if (len)
		metadata[n++] = (struct rpc_metadata){ STR("murmesh-via"), { text->via, len } };
	if (call->origin->has_component) {
		id_format(&call->origin->component, text->component);
		metadata[n++] = (struct rpc_metadata){ STR("murmesh-component"), str_from(text->component) };
	}
	return n;
}

const struct rpc_origin *rpc_call_origin(const struct rpc_call *call)
{
	return call->origin;
}

int rpc_call_set_origin(struct rpc_call *call, const struct rpc_origin *origin)
{
	struct rpc_origin *copy = mem_alloc(sizeof *copy);
	if (!copy)
		return -E_NO_MEMORY;
	*copy = *origin;
	mem_free(call->origin);
	call->origin = copy;
	call->believed = true;
	call->has_peer = copy->has_peer;
	call->peer = copy->peer;
	return 0;
}
