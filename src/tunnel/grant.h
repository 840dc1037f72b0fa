/* tunnel/grant.h: what an agent checks before it acts: the policy, grants and run orders (proto/enrol.proto, proto/fleet.proto).
 * Nothing in here trusts who brought a document: the signature alone counts. */
#ifndef TUNNEL_GRANT_H
#define TUNNEL_GRANT_H
#include "base/str.h"
#include "crypto/certificate.h"
#include "enrol.pb.h"
#include "fleet.pb.h"
#include "router.pb.h"

struct trust; /* what this machine knows of its mesh */

/* From the mesh root's certificate and the policy it signed.  self: this device.  -E_SIGNATURE, -E_MESSAGE, -E_CERTIFICATE_FOREIGN, -E_UNSUPPORTED
 * (a mode that this version does not know), -E_POLICY (an approver or a key twice, mode "signed" without any), -E_ENCODING (of a key). */
int trust_new(const struct certificate *root, const murmesh_SignedDocument *policy, const struct identity *self,
              struct trust **ret);
/* Whether agents would take a policy with that content: as trust_new() has it. */
int policy_acceptable(const murmesh_Policy *policy);
struct trust *trust_free(struct trust *trust);
uint64_t trust_version(const struct trust *trust); /* of its policy; a machine never goes back */

/* Is it a grant of this mesh for this device, for that user, in force at `now` (seconds)?  -E_SIGNATURE, -E_GRANT, -E_GRANT_EXPIRED, -E_MESSAGE.
 * In mode "signed" that user has signed it too, with the key that the policy names for him: -E_USER_SIGNATURE. */
int grant_check(const struct trust *trust, const murmesh_SignedDocument *signed_grant, const struct identity *user, int64_t now,
                murmesh_Grant *ret);
/* Verifies the server's signature of a grant that will come, so that it need not be when it does: of the last few; one that is not good is not kept.
 * All else is checked when it comes. */
void grant_expect(struct trust *trust, const murmesh_SignedDocument *signed_grant);
/* Does it allow a connection to that target?  Targets are compared as texts, without regard to case; ":port" in a grant also allows the spellings
 * "", "localhost", 127.0.0.1 and ::1 of the device itself. */
int grant_allows_target(const murmesh_Grant *grant, struct str host, uint16_t port);
/* The same for UDP, whose targets are written with "/udp" behind them: a grant for the one opens nothing of the other, in agents of all versions. */
int grant_allows_udp(const murmesh_Grant *grant, struct str host, uint16_t port);
/* A run order for this device: signature, time, and that `devices` (16 bytes each) are the ones it was signed for and hold this one.  It is for a
 * command, or for a terminal on this device alone.  In mode "signed" signed by its user too (-E_USER_SIGNATURE), and by another approver where it is
 * for more devices than the policy allows one to decide about (-E_SECOND_SIGNATURE). */
int order_check(const struct trust *trust, const murmesh_SignedDocument *signed_order, const uint8_t *devices, size_t devices_len,
                int64_t now, murmesh_Order *ret);

/* The time that a server of this mesh signed, in seconds since 1970.  -E_SIGNATURE, -E_MESSAGE, -E_CERTIFICATE_FOREIGN. */
int time_check(const struct trust *trust, const murmesh_SignedTime *time, int64_t *ret);

/* An order for this device to link to another parent.  -E_SIGNATURE, -E_MESSAGE, -E_CERTIFICATE_FOREIGN. */
int move_check(const struct trust *trust, const murmesh_SignedDocument *signed_move, murmesh_Move *ret);

/* An order for this device to be a relay, or none.  The same errors. */
int duty_check(const struct trust *trust, const murmesh_SignedDocument *signed_duty, murmesh_RelayDuty *ret);

/* Which relays have ended.  The same errors. */
int ended_check(const struct trust *trust, const murmesh_SignedDocument *signed_ended, murmesh_RelaysEnded *ret);

/* "host:port" with [v6] in brackets; "" as host for the device itself.  Returns 0 or -E_TOO_LONG. */
int target_format(struct str host, uint16_t port, char *out, size_t size);
int target_format_udp(struct str host, uint16_t port, char *out, size_t size); /* "host:port/udp" */

#define GRANT_TEXT_SIZE 8193 /* with the NUL */
/* A grant as the field `murmesh-grant` has it: base64url of a SignedDocument.  -E_TOO_LONG; -E_GRANT: it is none. */
int grant_text_write(const murmesh_SignedDocument *grant, char out[GRANT_TEXT_SIZE]);
int grant_text_read(struct str text, murmesh_SignedDocument *ret);
#endif
