/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP request on stdin, its answer on stdout: for a program that systemd starts for each
 * connection of a socket unit. No more of RFC 9112 than a scraper needs: GET of one path, and the
 * connection closes.
 */
#ifndef MCSEAL_CTL_HTTP_H
#define MCSEAL_CTL_HTTP_H

#include "base/clock.h"

#include <stddef.h>
#include <stdio.h>

/*
 * Reads a request's head from `in`, until `deadline`. The status to answer with: 200 for a GET of
 * `path`, else 400, 404, 405, 408 or 431.
 */
int http_read_request(int in, const char *path, clock_us deadline);
/* Writes the whole answer. `type`: of the body. */
void http_write_answer(FILE *out, int status, const char *type, const char *body, size_t size);

#endif
