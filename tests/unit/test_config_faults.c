/* SPDX-License-Identifier: Apache-2.0 */
/* Every message about a bad configuration, with its line. */
#include "config_fixture.h"

#define A9       "aaaaaaaaa"
#define PATH_108 "/a/aaaaaa" A9 A9 A9 A9 A9 A9 A9 A9 A9 A9 A9 /* no room for the zero byte */

struct fault {
	const char *text;
	int line;
	const char *message; /* a part of it */
};

/* clang-format off */
static const struct fault faults[] = {
	/* The file as a whole. */
	{"", 0, "neither an edge nor a gateway"},
	{PLC IDENTITY, 0, "neither an edge nor a gateway"},
	/* Characters. */
	{"workers = \"2\n\"", 1, "the string has no end"},
	{"workers = \"2", 1, "the string has no end"},
	{"\nworkers = \"\\n\"", 2, "a backslash in a string"},
	{"\nworkers = \"a\tb\"", 2, "control character 0x09 in a string"},
	{"workers = \"${HOME}\"", 1, "${NAME} are not replaced"},
	{"workers = ${HOME}", 1, "unexpected character '$'"},
	{"workers = '2'", 1, "unexpected character '''"},
	{"workers += 2", 1, "unexpected character '+'"},
	{"include(\"/etc/passwd\")", 1, "unexpected character '('"},
	{"\n\n\xef\xbb\xbf", 3, "unexpected byte 0xef"},
	{"\n/* a\nb", 2, "this comment never ends"},
	{"limits {\n sessions = { 2\n", 2, "this { is never closed, expected } behind the last"},
	{"limits {\n", 1, "this { is never closed"},
	{"\n}\n", 2, "this } closes nothing"},
	/* Syntax: what comes behind is read, see test_config_syntax.c. */
	{"workers 2", 1, "workers has no =, expected workers = VALUE"},
	{"workers = ,", 1, "workers has no value, expected workers = VALUE"},
	{"\nworkers =", 2, "workers has no value"},
	{"plc {\n}", 1, "plc has no title, expected plc \"TITLE\" { ... }"},
	{"plc \"p\"\n = 2", 1, "plc has no { here"},
	{"limits \"x\" { }", 1, "limits has a title, expected limits { ... }"},
	{"plc \"p\" { sni = { a b } }", 1, "unexpected 'b', expected a comma before it"},
	{"{ }", 1, "unexpected '{'"},
	/* Names. */
	{VALID "wrkers = 2", 5, "the top level has no option 'wrkers', expected 'workers' perhaps"},
	{VALID "sessions = 2", 5, "has no option 'sessions', expected it in limits"},
	{VALID "zzz = 2", 5, "has no option 'zzz', expected one of the manual's"},
	{VALID "tiemouts { drain = 2 }", 5, "'tiemouts', expected 'timeouts' perhaps"},
	{VALID "\ntimeouts {\n darin = 2 }", 7, "timeouts has no option 'darin', expected 'drain'"},
	{"workers = 1\nworkers = 2\n" VALID, 2, "workers is set a second time"},
	{"limits { }\nlimits { }\n" VALID, 2, "limits stands here a second time"},
	{"workers = { 1, 2 }\n" VALID, 1, "workers has 2 values, expected one"},
	{VALID "a-name-of-more-than-thirty-two-characters = 2", 5, "expected one of the manual's"},
	/* Numbers and words. */
	{"log_level = loud\n" VALID, 1,
	 "'loud' is not known, expected one of error, warning, info"},
	{"engine = select\n" VALID, 1,
	 "engine: 'select' is not known, expected one of auto, splice, uring-splice, copy, epoll"},
	{"engine = uring\n" VALID, 1, "engine: 'uring' is not known, expected one of auto, splice"},
	{"ktls = default\n" VALID, 1,
	 "ktls: 'default' is not known, expected one of auto, required, off"},
	{VALID "edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS "ktls = on\n" SOURCE ROUTE "}", 6,
	 "ktls: 'on' is not known, expected one of default, auto, required, off"},
	{PLC IDENTITY "gateway \"g\" { listen = \"0.0.0.0:8443\" " CREDENTIALS "ktls = \"\" }", 4,
	 "ktls: '' is not known, expected one of default"},
	{"workers = -1\n" VALID, 1, "workers: '-1' is not valid, expected a whole number"},
	{"workers = 257\n" VALID, 1, "workers: 257 is out of range, expected 0 to 256"},
	{"workers = 99999999999999999999\n" VALID, 1, "is out of range, expected 0 to 256"},
	{"workers = \"\"\n" VALID, 1, "workers: '' is not valid"},
	{"mark = 0x100000000\n" VALID, 1,
	 "mark: '0x100000000' is not valid, expected a socket mark"},
	{"mark = 4294967296\n" VALID, 1, "mark: '4294967296' is not valid"},
	{"mark = 0x\n" VALID, 1, "mark: '0x' is not valid"},
	{"mark = 4d\n" VALID, 1, "mark: '4d' is not valid"},
	{"control_socket = run\n" VALID, 1,
	 "control_socket: 'run' is not valid, expected an absolute path of at most 107 bytes, or "
	 "\"\" for none"},
	{"control_socket = \"/\"\n" VALID, 1, "control_socket: '/' is not valid"},
	{"control_socket = \"" PATH_108 "\"\n" VALID, 1, "is not valid, expected an absolute path"},
	{"timeouts { handshake = 0 }\n" VALID, 1,
	 "handshake: 0 is out of range, expected 0.01 to 600"},
	{"timeouts { handshake = 601 }\n" VALID, 1, "handshake: 601 is out of range"},
	{"timeouts { handshake = 1.0000001 }\n" VALID, 1, "handshake: '1.0000001' is not valid"},
	{"timeouts { handshake = 1. }\n" VALID, 1, "handshake: '1.' is not valid"},
	{"timeouts { handshake = .5 }\n" VALID, 1, "handshake: '.5' is not valid"},
	{"timeouts { handshake = -1 }\n" VALID, 1, "handshake: '-1' is not valid"},
	{"timeouts { handshake = 1e3 }\n" VALID, 1, "handshake: '1e3' is not valid"},
	{"timeouts { handshake = 3s }\n" VALID, 1,
	 "handshake: '3s' is not valid, expected seconds"},
	{"timeouts { keepalive_idle = 1.5 }\n" VALID, 1,
	 "'1.5' is not valid, expected whole seconds"},
	{"timeouts { keepalive_interval = 0 }\n" VALID, 1, "is out of range, expected 1 to 7200"},
	{"timeouts { keepalive_count = 128 }\n" VALID, 1, "is out of range, expected 1 to 127"},
	{"limits { sessions = 0 }\n" VALID, 1, "sessions: 0 is out of range"},
	{"limits { handshakes = 0 }\n" VALID, 1, "handshakes: 0 is out of range"},
	{"limits { frame = 255 }\n" VALID, 1, "frame: 255 is out of range, expected 256 to 65561"},
	{"limits { key_records = 15 }\n" VALID, 1,
	 "key_records: 15 is out of range, expected 16 to 4294967295"},
	{"limits { key_records = 4294967296 }\n" VALID, 1, "key_records: 4294967296 is out of range"},
	/* PLCs. */
	{"plc \"p\" { port \"1\" { } }\n" IDENTITY GATEWAY, 1, "plc \"p\" has no address"},
	{"plc \"p\" {\n address = 10.0.0.1:5007 port \"1\" { } }\n" IDENTITY GATEWAY, 2,
	 "address: '10.0.0.1:5007' is not valid, expected a numeric address without a port"},
	{"plc \"p\" {\n address = plc.example port \"1\" { } }\n" IDENTITY GATEWAY, 2,
	 "names are not looked up"},
	{VALID "plc \"q\" { address = 10.0.0.2 }", 5, "plc \"q\" has no port"},
	{VALID "plc \"a b\" { address = 10.0.0.2 port \"1\" { } }", 5, "plc: 'a b' is not valid"},
	{VALID "plc \"\" { address = 10.0.0.2 port \"1\" { } }", 5, "plc: '' is not valid"},
	{VALID "plc \"p\" { address = 10.0.0.2 port \"1\" { } }", 5,
	 "plc \"p\" stands here a second time (first in line 1)"},
	{VALID "plc \"q\" { address = 10.0.0.1\n port \"5007\" { } }", 6,
	 "plc \"q\" and plc \"p\" (line 1) are both 10.0.0.1 port 5007"},
	{VALID "plc \"q\" { address = \"::ffff:10.0.0.1\"\n port \"5007\" { } }", 6, "are both"},
	{VALID "plc \"q\" { address = 10.0.0.2 port \"1\" { }\n port \"1\" { } }", 6,
	 "port 1 of plc \"q\" stands here a second time (first in line 5)"},
	{VALID "plc \"q\" { address = 10.0.0.2 port \"0\" { } }", 5, "port: '0' is not valid"},
	{VALID "plc \"q\" { address = 10.0.0.2 port \"65536\" { } }", 5,
	 "port: '65536' is not valid"},
	{VALID "plc \"q\" { address = 10.0.0.2\nport \"1\" { connections = 0 } }", 6,
	 "connections: 0 is out of range, expected 1 to 1024"},
	{VALID "plc \"q\" { address = 10.0.0.2 port \"1\" { protocol = tcp } }", 5,
	 "protocol: 'tcp' is not known, expected one of mc, opaque"},
	{VALID "plc \"q\" { address = 10.0.0.2\nport \"1\" { protocol = opaque } }", 6,
	 "port 1 of plc \"q\" is opaque for nobody"},
	{VALID "plc \"q\" { address = 10.0.0.2\nport \"1\" {\nprotocol = opaque\n"
	       "identities = { \"i\", \"j\" } } }",
	 8, "there is no identity \"j\""},
	{VALID "plc \"q\" { address = 10.0.0.2\nport \"1\" {\nidentities = i } }", 7,
	 "only a port with protocol = opaque"},
	{VALID "plc \"q\" { address = 10.0.0.2 sni = { x, P }\n port \"1\" { } }", 5,
	 "plc \"q\" and plc \"p\" (line 1) answer to the same SNI name"},
	{VALID "plc \"P\" { address = 10.0.0.2 port \"1\" { } }", 5, "answer to the same SNI name"},
	/* Identities. */
	{PLC "identity \"i\" { plcs = p }\n" GATEWAY, 2, "identity \"i\" has no match"},
	{PLC "identity \"i\" { match = { } plcs = p }\n" GATEWAY, 2, "identity \"i\" has no match"},
	{PLC "identity \"i\" { match = cn:x }\n" GATEWAY, 2, "identity \"i\" has no plcs"},
	{PLC "identity \"i\" { match = cn:x\n plcs = { p, q } }\n" GATEWAY, 3,
	 "there is no plc \"q\""},
	{PLC "identity \"i\" { match = cn:x role = admin plcs = p }\n" GATEWAY, 2,
	 "role: 'admin' is not known, expected one of client, edge"},
	{PLC "identity \"i\" { match = { x } plcs = p }\n" GATEWAY, 2,
	 "match: 'x' is not valid, expected KIND:VALUE"},
	{PLC "identity \"i\" { match = { ip:10.0.0.1 } plcs = p }\n" GATEWAY, 2,
	 "expected KIND:VALUE"},
	{PLC "identity \"i\" { match = { CN:x } plcs = p }\n" GATEWAY, 2, "expected KIND:VALUE"},
	{PLC "identity \"i\" { match = { uri:x } plcs = p }\n" GATEWAY, 2,
	 "expected an absolute URI"},
	{PLC "identity \"i\" { match = { \"dns:*.x\" } plcs = p }\n" GATEWAY, 2,
	 "'dns:*.x' is not valid, expected a DNS name without wildcard"},
	{PLC "identity \"i\" { match = { \"dns:\" } plcs = p }\n" GATEWAY, 2,
	 "expected a DNS name"},
	{PLC "identity \"i\" { match = { email:x } plcs = p }\n" GATEWAY, 2, "an address with '@'"},
	{PLC "identity \"i\" { match = { \"cn:\" } plcs = p }\n" GATEWAY, 2,
	 "expected a common name"},
	{PLC "identity \"i\" { match = { spki-sha256:00 } plcs = p }\n" GATEWAY, 2,
	 "expected 64 hexadecimal digits"},
	{PLC "identity \"i\" { match = { serial:00 } plcs = p }\n" GATEWAY, 2, "serial:HEX@ISSUER"},
	{PLC "identity \"i\" { match = { \"serial:xy@CN=z\" } plcs = p }\n" GATEWAY, 2,
	 "serial:HEX@ISSUER"},
	{PLC "identity \"i\" { match = { \"serial:0@\" } plcs = p }\n" GATEWAY, 2,
	 "serial:HEX@ISSUER"},
	{PLC "identity \"i\" { match = { \"role:\" } plcs = p }\n" GATEWAY, 2, "expected a role"},
	{VALID "identity \"i\" { match = cn:y plcs = p }", 5,
	 "identity \"i\" stands here a second time (first in line 2)"},
	{VALID "identity \"j\" { match = { cn:y, cn:x } plcs = p }", 5,
	 "identity \"j\" matches 'x' as identity \"i\" (line 2) does"},
	/* Gateways. */
	{PLC GATEWAY, 2, "gateway \"g\" lets nobody in"},
	{"identity \"i\" { match = cn:x plcs = \"*\" }\n" GATEWAY, 2,
	 "gateway \"g\" leads nowhere"},
	{PLC IDENTITY "gateway \"g\" { " CREDENTIALS "}", 3, "gateway \"g\" has no listen"},
	{PLC IDENTITY "gateway \"g\" { listen = { } " CREDENTIALS "}", 3, "has no listen"},
	{PLC IDENTITY "gateway \"g\" { listen = gw.example:8443 " CREDENTIALS "}", 3,
	 "listen: 'gw.example:8443' is not valid, expected a numeric address"},
	{PLC IDENTITY "gateway \"g\" { listen = \"10.0.0.1\" " CREDENTIALS "}", 3,
	 "listen: '10.0.0.1'"},
	{PLC IDENTITY "gateway \"g\" { listen = \"10.0.0.1:0\" " CREDENTIALS "}", 3,
	 "listen: '10.0.0"},
	{PLC IDENTITY "gateway \"g\" { listen = \"[::1:8443\" " CREDENTIALS "}", 3,
	 "listen: '[::1:8"},
	{PLC IDENTITY "gateway \"g\" { listen = \"0.0.0.0:8443\" }", 3, "has no certificate"},
	{PLC IDENTITY "gateway \"g\" { listen = \"0.0.0.0:8443\" }", 3, "has no key"},
	{PLC IDENTITY "gateway \"g\" { listen = \"0.0.0.0:8443\" }", 3, "has no ca,"},
	{PLC IDENTITY "gateway \"g\" { listen = \"0.0.0.0:8443\" " CREDENTIALS "plc = q }", 4,
	 "plc: there is no plc \"q\""},
	{PLC IDENTITY "gateway \"g\" { listen = \"0.0.0.0:8443\" " CREDENTIALS
		      "plc = p\nplc_port = 1}",
	 5, "plc_port: plc \"p\" has no port 1"},
	{PLC IDENTITY "gateway \"g\" { listen = \"0.0.0.0:8443\" " CREDENTIALS "plc_port = 5007 }",
	 4, "plc_port: this gateway has no plc"},
	{VALID "gateway \"g\" { listen = \"0.0.0.0:8444\" " CREDENTIALS "}", 5,
	 "gateway \"g\" stands here a second time (first in line 3)"},
	{VALID "gateway \"h\" { listen = \"0.0.0.0:8443\" " CREDENTIALS "}", 5,
	 "listen: 0.0.0.0:8443 of gateway \"h\" is taken by gateway \"g\" (line 3)"},
	{VALID "gateway \"h\" { listen = \"127.0.0.1:8443\" " CREDENTIALS "}", 5,
	 "is taken by gateway"},
	{VALID "edge \"e\" { listen = \"127.0.0.1:8443\" " CREDENTIALS SOURCE ROUTE "}", 5,
	 "listen: 127.0.0.1:8443 of edge \"e\" is taken by gateway \"g\""},
	{VALID "gateway \"h\" { listen = { \"[::1]:1\",\n\"[::1]:1\" } " CREDENTIALS "}", 5,
	 "listen: [::1]:1 of gateway \"h\" is taken by gateway \"h\""},
	/* Files. */
	{PLC IDENTITY "gateway \"g\" { listen = \"0.0.0.0:8443\"\ncertificate = \"@/none.pem\" "
		      "key = \"@/key.pem\" ca = \"@/ca.pem\" }",
	 4, "none.pem (No such file or directory)"},
	{PLC IDENTITY "gateway \"g\" { listen = \"0.0.0.0:8443\"\ncertificate = \"cert.pem\" "
		      "key = \"@/key.pem\" ca = \"@/ca.pem\" }",
	 4, "cert.pem is a relative path"},
	{PLC IDENTITY "gateway \"g\" { listen = \"0.0.0.0:8443\"\ncertificate = \"@/folder\" "
		      "key = \"@/key.pem\" ca = \"@/ca.pem\" }",
	 4, "is not a regular file"},
	{PLC IDENTITY "gateway \"g\" { listen = \"0.0.0.0:8443\"\ncertificate = \"@/cert.pem\" "
		      "key = \"@/fifo\" ca = \"@/ca.pem\" }",
	 4, "fifo is not a regular file"},
	{PLC IDENTITY "gateway \"g\" { listen = \"0.0.0.0:8443\"\ncertificate = \"@/cert.pem\" "
		      "key = \"@/key-open.pem\" ca = \"@/ca.pem\" }",
	 4, "key-open.pem is open to group or others (mode 0640), expected 0600"},
	{PLC IDENTITY "gateway \"g\" { listen = \"0.0.0.0:8443\"\ncertificate = \"@/cert.pem\" "
		      "key = \"@/key-other.pem\" ca = \"@/ca.pem\" }",
	 4, "(mode 0604)"},
	{PLC IDENTITY "gateway \"g\" { listen = \"0.0.0.0:8443\"\ncertificate = \"@/cert.pem\" "
		      "key = \"@/key.pem\" ca = \"@/bundle.pem\" }",
	 4, "bundle.pem holds more than 20 certificates"},
	{PLC IDENTITY "gateway \"g\" { listen = \"0.0.0.0:8443\"\ncertificate = \"@/cert.pem\" "
		      "key = \"@/key.pem\" ca = \"@/empty.pem\" }",
	 4, "empty.pem holds no certificate"},
	{PLC IDENTITY "gateway \"g\" { listen = \"0.0.0.0:8443\"\ncertificate = \"@/cert.pem\" "
		      "key = \"@/key.pem\" ca = \"@/ca.pem\" crl = \"@/none.crl\" }",
	 4, "crl: cannot read"},
	{PLC IDENTITY "gateway \"g\" { listen = \"0.0.0.0:8443\"\ncertificate = \"@/cert.pem\" "
		      "key = \"@/key.pem\" ca = \"@/none.pem\" }", 4, "ca: cannot read"},
	{VALID "audit {\nfile = audit.jsonl }", 6, "file: audit.jsonl is no path from the root"},
	{VALID "audit {\nfile = / }", 6, "file: / is no path from the root"},
	{VALID "audit {\nfile = \"@/folder\" }", 6, "folder is not a regular file, expected one"},
	{VALID "audit {\nfile = \"@/fifo\" }", 6, "fifo is not a regular file, expected one"},
	{VALID "audit {\nfailure = ignore }", 6,
	 "failure: 'ignore' is not known, expected one of refuse-writes, continue"},
	/* Edges. */
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS ROUTE "}", 1,
	 "edge \"e\" has no source: any neighbour would act under its certificate"},
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS SOURCE "}", 1,
	 "edge \"e\" has no route"},
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS "transparent = no\n" SOURCE ROUTE "}",
	 1, "edge \"e\" has no target, expected destination"},
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS "transparent = yes\n"
	 "destination = 10.0.0.1:5007\n" SOURCE ROUTE "}",
	 3, "expected either destination or transparent = yes"},
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS "transparent = maybe\n" SOURCE ROUTE
	 "}",
	 2, "transparent: 'maybe' is not valid, expected yes or no"},
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS
	 "destination = 10.0.0.1:5008\n" SOURCE ROUTE "}",
	 2, "destination: 10.0.0.1:5008 is in no route"},
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS "source \"s\" { }\n" ROUTE "}", 2,
	 "source \"s\" names nobody"},
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS
	 "source \"s\" { addresses = { } }\n" ROUTE "}",
	 2, "source \"s\" names nobody"},
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS
	 "source \"s\" {\naddresses = 10.0.0.1/8 }\n" ROUTE "}",
	 3, "addresses: '10.0.0.1/8' is not valid, expected an address or a block without"},
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS
	 "source \"s\" {\nusers = no-such-user }\n" ROUTE "}",
	 3, "users: there is no user 'no-such-user'"},
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS
	 "source \"s\" {\nusers = 4294967295 }\n" ROUTE "}",
	 3, "users: '4294967295' is not valid"},
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS
	 "source \"s\" {\ncgroups = a.service }\n" ROUTE "}",
	 3, "cgroups: 'a.service' is not valid, expected a path below /sys/fs/cgroup"},
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS
	 "source \"s\" {\ncgroups = /a/../b }\n" ROUTE "}",
	 3, "cgroups: '/a/../b' is not valid"},
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS "source \"s\" { users = 0\n"
	 "certificate = \"@/cert.pem\" }\n" ROUTE "}",
	 2, "has only one of certificate and key"},
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS "source \"s\" { users = 0\n"
	 "key = \"@/key.pem\" }\n" ROUTE "}",
	 2, "has only one of certificate and key"},
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS "source \"s\" { users = 0\n"
	 "crl = \"@/ca.crl\" }\n" ROUTE "}",
	 2, "has a ca or crl but no certificate"},
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS SOURCE SOURCE ROUTE "}", 3,
	 "source \"s\" stands here a second time (first in line 2)"},
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS SOURCE ROUTE ROUTE "}", 4,
	 "route \"r\" stands here a second time (first in line 3)"},
	{EDGE "edge \"e\" { listen = \"0.0.0.0:2\" " CREDENTIALS SOURCE ROUTE "}", 5,
	 "edge \"e\" stands here a second time (first in line 1)"},
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS SOURCE "route \"r\" { gateways = "
	 "\"10.2.0.1:8443\" } }",
	 3, "route \"r\" has no destinations"},
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS SOURCE "route \"r\" { destinations = "
	 "\"10.0.0.1:5007\" } }",
	 3, "route \"r\" has no gateways"},
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS SOURCE
	 "route \"r\" {\ndestinations = { "
	 "10.0.0.1, 10.0.0.1/8:1, 10.0.0.1:2-1, 10.0.0.1:0, 10.0.0.1:1-65536, fd30::/64:1, "
	 "\"[fd30::/64\", \"[10.0.0.1]:1\", \":1\" } gateways = 10.2.0.1:8443 } }",
	 4, "destinations: ':1' is not valid, expected addresses and ports like"},
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS SOURCE "route \"r\" { destinations = "
	 "10.0.0.1:5007\ngateways = gw.example:8443 } }",
	 4, "gateways: 'gw.example:8443' is not valid, expected a numeric address and a port"},
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS SOURCE "route \"r\" { destinations = "
	 "10.0.0.0/8:5000-9000\ngateways = 10.2.0.1:8443 } }",
	 4, "gateways: 10.2.0.1:8443 is among the destinations of route \"r\" (line 3), a loop"},
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS SOURCE "route \"r\" { destinations = "
	 "10.0.0.1:1\ngateways = 10.2.0.1:8443 server_name = \"a b\" } }",
	 4, "server_name: 'a b' is not valid"},
};

static const struct fault warnings[] = {
	{PLC IDENTITY "gateway \"g\" { listen = \"0.0.0.0:8443\" certificate = \"@/cert.pem\" "
		      "key = \"@/key.pem\" ca = \"@/ca.pem\" }",
	 3, "gateway \"g\" has no crl"},
	{"edge \"e\" { listen = \"0.0.0.0:1\" certificate = \"@/cert.pem\" key = \"@/key.pem\" "
	 "ca = \"@/ca.pem\"\n" SOURCE ROUTE "}",
	 1, "edge \"e\" has no crl"},
	{PLC IDENTITY
	 "gateway \"g\" { listen = \"0.0.0.0:8443\"\ncertificate = \"@/cert-writable.pem\" "
	 "key = \"@/key.pem\" ca = \"@/ca.pem\" crl = \"@/ca.crl\" }",
	 4, "cert-writable.pem can be written by everybody (mode 0666)"},
	{PLC IDENTITY "gateway \"g\" { listen = \"0.0.0.0:8443\"\ncertificate = \"@/cert.pem\" "
		      "key = \"@/key.pem\" ca = \"@/cert-writable.pem\" crl = \"@/ca.crl\" }",
	 4, "ca: "},
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS
	 "source \"s\" {\nusers = 4294967294 }\n" ROUTE "}",
	 3, "no user has the number 4294967294"},
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS
	 "source \"s\" {\ncgroups = /no/such }\n" ROUTE "}",
	 3, "/sys/fs/cgroup/no/such does not exist now"},
	{VALID "audit {\nfile = \"@/none/audit.jsonl\" }", 6,
	 "none/audit.jsonl cannot be written now (No such file or directory)"},
	{"edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS SOURCE ROUTE
	 "route \"q\" {\ndestinations = "
	 "{ 10.9.0.1:1, 10.0.0.0/24:5000-5010 } gateways = 10.2.0.1:8443 } }",
	 5, "route \"q\" and route \"r\" (line 3) share destinations"},
};

/* clang-format on */

/* The one line of the report that holds `message`, compared with the expected file and line. */
static void check_line(const struct fault *fault, const char *report, const char *kind)
{
	const char *found = strstr(report, fault->message);
	const char *start = found;
	char prefix[64];

	if (!found) {
		fail_msg("no '%s' in\n%s\nof\n%s", fault->message, report, fault->text);
		return;
	}
	while (start > report && start[-1] != '\n')
		start--;
	if (fault->line > 0)
		snprintf(prefix, sizeof(prefix), "t.conf:%d: %s: ", fault->line, kind);
	else
		snprintf(prefix, sizeof(prefix), "t.conf: %s: ", kind);
	if (strncmp(start, prefix, strlen(prefix)) != 0)
		fail_msg("expected %s before '%s' in\n%s", prefix, fault->message, report);
}

static void test_faults(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		struct outcome outcome = load(faults[i].text);

		check_line(&faults[i], outcome.report, "error");
		assert_int_equal(outcome.result, -EINVAL);
		if (count(outcome.report, "expected ") < count(outcome.report, ": error: "))
			fail_msg("a message says not what was expected:\n%s", outcome.report);
		drop(&outcome);
	}
}

static void test_warnings(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(warnings); i++) {
		struct outcome outcome = load(warnings[i].text);

		check_line(&warnings[i], outcome.report, "warning");
		if (outcome.result != 0)
			fail_msg("%s", outcome.report);
		assert_int_equal(count(outcome.report, "\n"), 1);
		drop(&outcome);
	}
}

/* One mistake gives one message: nothing is said about what a refused value would have meant. */
static void test_one_message_each(void **state)
{
	static const char *const texts[] = {
		"workers = x\n" VALID,
		VALID "wrkers = 2",
		"plc \"p\" { address = x port \"5007\" { } }\n" IDENTITY GATEWAY,
		PLC IDENTITY "gateway \"g\" { listen = x " CREDENTIALS "}",
		VALID "plc \"a b\" { address = 10.0.0.2 port \"1\" { } }",
		"edge \"e\" { listen = \"0.0.0.0:1\" destination = x " CREDENTIALS SOURCE ROUTE "}",
		PLC GATEWAY,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct outcome outcome = load(texts[i]);

		if (count(outcome.report, "\n") != 1)
			fail_msg("%s\n%s", texts[i], outcome.report);
		drop(&outcome);
	}
}

static void test_all_at_once(void **state)
{
	static const char text[] = "workers = many\n"
				   "wrkers = 2\n"
				   "timeouts { drain = 0 }\n"
				   "plc \"p\" { address = x }\n"
				   "identity \"i\" { match = x plcs = q }\n"
				   "gateway \"g\" { listen = y }\n"
				   "edge \"e\" { listen = z transparent = no }\n";
	static const int lines[] = {1, 2, 3, 4, 4, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7};
	struct outcome outcome = load(text);
	char *line = outcome.report;
	char prefix[32];

	(void)state;
	assert_int_equal(outcome.result, -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		snprintf(prefix, sizeof(prefix), "t.conf:%d: error: ", lines[i]);
		if (strncmp(line, prefix, strlen(prefix)) != 0)
			fail_msg("message %zu, expected %s in\n%s", i, prefix, outcome.report);
		line = strchr(line, '\n') + 1;
	}
	assert_string_equal(line, "");
	drop(&outcome);
}

/* Each alone: one bad range must not hide behind another. */
static void test_bad_destinations(void **state)
{
	static const char *const texts[] = {
		"10.0.0.1",
		"10.0.0.1:",
		"10.0.0.1:0",
		"10.0.0.1:65536",
		"10.0.0.1:100000",
		"10.0.0.1:x",
		"10.0.0.1:1-",
		"10.0.0.1:-1",
		"10.0.0.1:2-1",
		"10.0.0.1:1-2-3",
		"10.0.0.1/8:1",
		"fd30::/64:1",
		"[fd30::/64",
		"[fd30::/64]",
		"[10.0.0.1]:1",
		":1",
		"[]:1",
		"[:1",
		"plc.example:1",
		"10.0.0.1:1-65536",
		"[fd30::1/64]:1",
		"10.0.0.0/33:1",
		"[fd30::/129]:1",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		char *text = replace("edge \"e\" { listen = \"0.0.0.0:1\" " CREDENTIALS SOURCE
				     "route \"r\" { destinations = { 10.0.0.1:1, \"DESTINATION\" } "
				     "gateways = 10.2.0.1:8443 } }",
				     "DESTINATION", texts[i]);
		struct outcome outcome = load(text);

		if (outcome.result != -EINVAL || count(outcome.report, "\n") != 1 ||
		    !strstr(outcome.report, "t.conf:3: error: destinations: '"))
			fail_msg("%s: %s", texts[i], outcome.report);
		free(text);
		drop(&outcome);
	}
}

static void test_large_certificate_file(void **state)
{
	char path[256];
	struct outcome outcome;

	(void)state;
	snprintf(path, sizeof(path), "%s/file.conf", folder);
	write_file("file.conf", "x", 0600);
	assert_int_equal(truncate(path, (1 << 20) + 1), 0);
	outcome = load(PLC IDENTITY "gateway \"g\" { listen = \"0.0.0.0:8443\" certificate = "
				    "\"@/file.conf\" key = \"@/key.pem\" ca = \"@/ca.pem\" }");
	assert_non_null(strstr(outcome.report, "file.conf is no PEM file of at most 1 MiB"));
	drop(&outcome);
}

static void expect_system_ca(const char *path)
{
	struct outcome outcome;
	char *text;

	if (access(path, R_OK) != 0)
		return;
	text = replace(PLC IDENTITY "gateway \"g\" { listen = \"0.0.0.0:8443\" certificate = "
				    "\"@/cert.pem\" key = \"@/key.pem\"\nca = \"CA\" }",
		       "CA", path);
	outcome = load(text);
	assert_int_equal(outcome.result, -EINVAL);
	assert_non_null(strstr(outcome.report, "t.conf:4: error: ca: "));
	assert_non_null(strstr(outcome.report, "belongs to the system's CAs"));
	free(text);
	drop(&outcome);
}

/* Also through a link, as distributions have them. */
static void test_system_ca(void **state)
{
	char path[256];

	(void)state;
	expect_system_ca("/etc/ssl/certs/ca-certificates.crt");
	expect_system_ca("/etc/pki/tls/certs/ca-bundle.crt");
	snprintf(path, sizeof(path), "%s/file.conf", folder);
	if (symlink("/etc/ssl/certs/ca-certificates.crt", path) == 0)
		expect_system_ca(path);
	remove(path);
}

static void test_twenty_certificates(void **state)
{
	struct outcome outcome =
		load(PLC IDENTITY "gateway \"g\" { listen = \"0.0.0.0:8443\" certificate = "
				  "\"@/cert.pem\" key = \"@/key.pem\" crl = \"@/ca.crl\"\n"
				  "ca = \"@/twenty.pem\" }");

	(void)state;
	assert_int_equal(outcome.result, 0);
	drop(&outcome);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_warnings),
		cmocka_unit_test(test_one_message_each),
		cmocka_unit_test(test_all_at_once),
		cmocka_unit_test(test_bad_destinations),
		cmocka_unit_test(test_large_certificate_file),
		cmocka_unit_test(test_system_ca),
		cmocka_unit_test(test_twenty_certificates),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}
