/* Relays, and machines of the server, that are none any more, as the server has signed it: not taken for a parent, though their certificates are still good. */
#include <errno.h>
#include <pb_decode.h>
#include <pb_encode.h>

#include "agent/net.h"
#include "base/err.h"
#include "os/file.h"
#include "os/log.h"
#include "stream/stream.h"

bool net_ended_parent(const struct net_role *net, const struct rpc_connection *parent)
{
	const struct certificate_info *peer = tls_peer(stream_tls(rpc_connection_stream(parent)));
	const murmesh_RelaysEnded *ended = &net->ended;
	bool is = false;
	for (pb_size_t i = 0; i < ended->key_hashes_count; i++)
		is |= hash_equal(ended->key_hashes[i], peer->key_hash);
	return is;
}

/* A list that is older than the one before does not count. */
static int list_take(struct net_role *net, const murmesh_SignedDocument *document, bool kept)
{
	static murmesh_RelaysEnded ended;
	int err = ended_check(net->trust, document, &ended);
	if (err == 0 && !kept) /* then the clock may be wrong yet */
		err = net_time_order(net, ended.created_ms, net->ended.created_ms);
	if (err == 0)
		net->ended = ended;
	return err;
}

static int list_keep(const struct net_role *net, const murmesh_SignedDocument *document)
{
	static uint8_t bytes[murmesh_SignedDocument_size];
	char path[4096];
	pb_ostream_t out = pb_ostream_from_buffer(bytes, sizeof bytes);
	if (!pb_encode(&out, murmesh_SignedDocument_fields, document))
		return -E_INTERNAL;
	int err = keep_file(&net->keep, "ended", path);
	return err < 0 ? err : file_write(path, bytes, out.bytes_written, 0600);
}

int net_ended_load(struct net_role *net)
{
	static murmesh_SignedDocument document;
	char path[4096];
	struct buf bytes;
	buf_init(&bytes, murmesh_SignedDocument_size);
	int err = keep_file(&net->keep, "ended", path);
	if (err == 0)
		err = file_read(path, &bytes);
	pb_istream_t in = pb_istream_from_buffer(buf_head(&bytes), buf_len(&bytes));
	if (err == 0)
		err = pb_decode(&in, murmesh_SignedDocument_fields, &document) ? list_take(net, &document, true) : -E_MESSAGE;
	buf_done(&bytes);
	return err == -ENOENT ? 0 : err;
}

void net_ended_policy(struct net_role *net)
{
	net->ended = (murmesh_RelaysEnded){ 0 };
	if (net_ended_load(net) < 0)
		log_info("which relays have ended is told anew: the list was signed by a key that the policy does not name any "
		         "more");
}

void net_ended_take(struct net_role *net, const murmesh_SignedDocument *document)
{
	int err = list_take(net, document, false);
	if (err == -E_POLICY_OLD) /* what it has, as a rule */
		return;
	if (err < 0) {
		log_limited(LOG_WARNING, "a list of relays that have ended was not taken: %s", err_text(err));
		return;
	}
	err = list_keep(net, document);
	if (err < 0)
		log_warning("which relays have ended is known until a restart only: %s", err_text(err));
	if (net_ended_parent(net, net->parent))
		net_link_later(net, -E_REVOKED, NET_ENDED);
}
