/* manage/bearer.h: who shows an order: it serves nobody but the user that it was signed for. */
#ifndef MANAGE_BEARER_H
#define MANAGE_BEARER_H
#include "fleet.pb.h"

struct rpc_call;

/* 0, or -E_GRANT.  Who calls is net's word, who has seen his certificate: it keeps other users out, not a captured net. */
int bearer_check(const struct rpc_call *call, const murmesh_Order *order);
#endif
