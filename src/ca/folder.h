/* ca/folder.h: the files of a certification manager's directory, one by one (authority.h says which).  Each is replaced as a whole (os/file.h); what root
 * writes belongs to the directory's owner, as whom the ca role runs.  Readers: -ENOENT, -E_CHECKSUM (damaged), and what os/file.h says. */
#ifndef CA_FOLDER_H
#define CA_FOLDER_H
#include "crypto/certificate.h"
#include "enrol.pb.h"

bool folder_has(const char *directory, const char *name);
int folder_write(const char *directory, const char *name, const void *bytes, size_t len, unsigned mode);

int folder_key_read(const char *directory, const char *name, struct key **ret);
int folder_key_make(const char *directory, const char *name, struct key **ret);
int folder_certificate_read(const char *directory, const char *name, struct certificate **ret);
int folder_certificate_write(const char *directory, const char *name, const struct certificate *certificate);

/* "mesh": its id. */
int folder_mesh_read(const char *directory, struct id *ret);
int folder_mesh_write(const char *directory, const struct id *mesh);

/* "policy": 16 bits of length (big-endian), the document, its signature. */
int folder_policy_read(const char *directory, murmesh_SignedDocument *ret);
int folder_policy_write(const char *directory, const murmesh_SignedDocument *policy);
#endif
