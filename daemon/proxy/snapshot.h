/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that sessions read and nobody changes: the configuration, the TLS contexts built
 * from its files, the PLCs' passwords. Built whole or not at all; a session holds a reference for
 * life, so that a later configuration can take its place while older sessions live on.
 */
#ifndef MCSEAL_PROXY_SNAPSHOT_H
#define MCSEAL_PROXY_SNAPSHOT_H

#include "config/config.h"
#include "net/socket.h"
#include "plant/plant.h"
#include "proxy/plc_password.h"
#include "tls/paper.h"
#include "tls/tls_context.h"

#include <stdatomic.h>
#include <stdio.h>

struct snapshot {
	atomic_uint references;
	struct config *config;           /* owned */
	struct plant *plant;             /* thread-safe by itself; not owned: it outlives us */
	struct plc_password **passwords; /* by PLC; NULL: none */
	struct tls_context **gateways;   /* by gateway */
	struct tls_context **sources;    /* of all edges: snapshot_source_context() */
	size_t source_count;
	struct socket_options socket_options;
};

/*
 * Takes over `config` (also on failure) and loads every certificate and password it names;
 * faults go to `report` as in tls_context.h, all of them. `plant` knows the PLCs of `config` before
 * the first session (plant_configure()); NULL for who only judges. One reference. 0, -EINVAL or
 * -ENOMEM.
 */
int snapshot_new(struct config *config, struct plant *plant, FILE *report,
		 struct snapshot **snapshot);
/*
 * Files are judged whole: the configuration's text at `path`, then every certificate that it names,
 * each fault to `report`. Otherwise as snapshot_new().
 */
int snapshot_load(const char *path, struct plant *plant, FILE *report, struct snapshot **snapshot);
/* The files that the configuration of `now` names, read again; its own text is that of then. */
int snapshot_renew(const struct snapshot *now, FILE *report, struct snapshot **snapshot);
/* Any thread. */
struct snapshot *snapshot_reference(struct snapshot *snapshot);
void snapshot_release(struct snapshot *snapshot);

/* Of the edge or gateway of that name (tls_context.h); NULL: there is none. */
const struct tls_context *snapshot_find_context(const struct snapshot *snapshot, const char *name);
/* Everything its contexts rest on, once each; to be cleared in any case. 0 or -ENOMEM. */
int snapshot_list_papers(const struct snapshot *snapshot, struct paper_list *list);
/* With which certificate an edge carries this source. */
const struct tls_context *snapshot_source_context(const struct snapshot *snapshot,
						  const struct config_edge *edge,
						  const struct config_source *source);

#endif
