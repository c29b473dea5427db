/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MC frames as independent clients and the manuals produce them: pymcprotocol, plc-comm-slmp,
 * McpX, fx3u-mcprotocol, npm mcprotocol; FX3U-ENET-ADP User's Manual for 1E. Requests marked
 * "ours" were composed here to bring about an answer that is documented.
 *
 * Binary frames are written in hexadecimal, ASCII frames as they stand on the wire.
 */
#ifndef MCSEAL_TESTS_MC_VECTORS_H
#define MCSEAL_TESTS_MC_VECTORS_H

#include "mc/mc_stream.h"

#include <string.h>

#define MC_VECTOR_SIZE 256

struct mc_vector {
	const char *name;
	enum mc_family family;
	enum mc_code code;
	uint16_t command;
	const char *request;
	const char *answer;    /* NULL: none */
	const char *memory[2]; /* what the PLC holds before, as for mcplc --set; NULL = nothing */
	const char *after[3];  /* what it must hold then, the same way */
	const char *password;  /* the PLC's remote password, or NULL */
	bool unlocked;         /* with a password: the connection has already given it */
	bool stopped;          /* the CPU is in STOP */
	bool monitors;         /* needs the vector before it on the same connection */
	uint16_t end_code;
};

#define B3 MC_FAMILY_3E, MC_CODE_BINARY
#define B4 MC_FAMILY_4E, MC_CODE_BINARY
#define A3 MC_FAMILY_3E, MC_CODE_ASCII
#define A4 MC_FAMILY_4E, MC_CODE_ASCII
#define B1 MC_FAMILY_1E, MC_CODE_BINARY
#define A1 MC_FAMILY_1E, MC_CODE_ASCII

static const struct mc_vector MC_VECTORS[] = {
	{"V1 read words", B3, 0x0401, "500000ffff03000c00100001040000640000a80200",
	 "d00000ffff03000600000034120200", .memory = {"D100=0x1234,2"}},
	{"V2 read bits", B3, 0x0401, "500000ffff03000c00100001040100640000900800",
	 "d00000ffff03000600000010110011", .memory = {"M100=1,0,1,1,0,0,1,1"}},
	{"V3 write words", B3, 0x1401, "500000ffff03001200100001140000640000a80300951902123011",
	 "d00000ffff030002000000", .after = {"D100=0x1995,0x1202,0x1130"}},
	{"V4 write bits", B3, 0x1401, "500000ffff03000e001000011401006400009003001100",
	 "d00000ffff030002000000", .memory = {"M102=1"}, .after = {"M100=1,1,0"}},
	{"V5 random read", B3, 0x0403, "500000ffff030014001000030400000201640000a8650000a8640000a8",
	 "d00000ffff03000a0000009519021295190212", .memory = {"D100=0x1995,0x1202"}},
	{"V6 random write", B3, 0x1402,
	 "500000ffff0300160010000214000001016e0000a85005700000a802123904", "d00000ffff030002000000",
	 .after = {"D110=0x550", "D112=0x1202,0x439"}},
	{"V7 random bit write", B3, 0x1402, "500000ffff030011001000021401000232000090002f00009d01",
	 "d00000ffff030002000000", .memory = {"M50=1"}, .after = {"M50=0", "Y2F=1"}},
	{"V8 CPU model", B3, 0x0101, "500000ffff03000600100001010000",
	 "d00000ffff030014000000513033554456435055202020202020206603", .end_code = 0},
	{"V9 loopback", B3, 0x0619, "500000ffff03000d0010001906000005004142434445",
	 "d00000ffff03000900000005004142434445", .end_code = 0},
	{"V10 remote STOP", B3, 0x1002, "500000ffff030008001000021000000100",
	 "d00000ffff030002000000", .end_code = 0},
	{"V10 remote RUN", B3, 0x1001, "500000ffff03000a0010000110000001000200",
	 "d00000ffff030002000000", .stopped = true},
	{"V10 remote PAUSE", B3, 0x1003, "500000ffff030008001000031000000300",
	 "d00000ffff030002000000", .end_code = 0},
	{"V10 remote latch clear", B3, 0x1005, "500000ffff030008001000051000000100",
	 "d00000ffff030002000000", .memory = {"L5=1", "D7=1"}, .after = {"L5=0", "D7=0"},
	 .stopped = true},
	{"V10 remote RESET", B3, 0x1006, "500000ffff030008001000061000000100", NULL,
	 .stopped = true},
	{"V11 unlock", B3, 0x1630, "500000ffff03000c00100030160000040031323334",
	 "d00000ffff030002000000", .password = "1234", .end_code = 0},
	{"V12 lock", B3, 0x1631, "500000ffff03000f00100031160000070073656372657431",
	 "d00000ffff030002000000", .password = "secret1", .unlocked = true},
	{"V13 block read", B3, 0x0406, "500000ffff030014001000060400000101640000a80200640000900100",
	 "d00000ffff03000800000095190212cb00",
	 .memory = {"D100=0x1995,0x1202", "M100=1,1,0,1,0,0,1,1"}},
	{"V14 block write", B3, 0x1406, "500000ffff0300120010000614000001002c0100a8020001000200",
	 "d00000ffff030002000000", .after = {"D300=1,2"}},
	{"V15 monitor registration", B3, 0x0801,
	 "500000ffff030010001000010800000101640000a8700000a8", "d00000ffff030002000000",
	 .memory = {"D100=0x1995", "D112=0x1202,0x439"}},
	{"V15 monitor", B3, 0x0802, "500000ffff03000600100002080000",
	 "d00000ffff030008000000951902123904", .memory = {"D100=0x1995", "D112=0x1202,0x439"},
	 .monitors = true},
	{"V16 4E iQ-R read", B4, 0x0401, "54003412000000ffff03000e0010000104020064000000a8000200",
	 "d4003412000000ffff03000600000095190212", .memory = {"D100=0x1995,0x1202"}},
	{"V17 4E iQ-R write bit", B4, 0x1401,
	 "54003412000000ffff03000f00100001140300650000009000010010",
	 "d4003412000000ffff030002000000", .after = {"M101=1"}},
	{"V18 bit read of a word device", B3, 0x0401, "500000ffff03000c00100001040100640000a80100",
	 "d00000ffff03000b005cc000ffff030001040100", .end_code = 0xc05c},
	{"V19 4E 961 words", B4, 0x0401, "54003412000000ffff03000c00100001040000640000a8c103",
	 "d4003412000000ffff03000b0051c000ffff030001040000", .end_code = 0xc051},
	{"V20 ASCII read", A3, 0x0401, "500000FF03FF000018001004010000D*0001000003",
	 "D00000FF03FF0000100000199512021130", .memory = {"D100=0x1995,0x1202,0x1130"}},
	{"V21 ASCII write bits", A3, 0x1401, "500000FF03FF00001C001014010001M*00010000041011",
	 "D00000FF03FF0000040000", .memory = {"M101=1"}, .after = {"M100=1,0,1,1"}},
	{"V22 ASCII random read", A3, 0x0403, "500000FF03FF0000200010040300000101D*000100D*000112",
	 "D00000FF03FF0000100000199504391202", .memory = {"D100=0x1995", "D112=0x1202,0x439"}},
	{"V23 ASCII iQ-R read", A3, 0x0401, "500000FF03FF00001C001004010002D***000001000001",
	 "D00000FF03FF00000800001995", .memory = {"D100=0x1995"}},
	{"V24 4E ASCII read", A4, 0x0401, "54001234000000FF03FF000018001004010000D*0001000001",
	 "D4001234000000FF03FF00000800001995", .memory = {"D100=0x1995"}},
	{"V25 ASCII unlock", A3, 0x1630, "500000FF03FF0000140010163000000004pass",
	 "D00000FF03FF0000040000", .password = "pass"},
	{"V26 ASCII error", A3, 0x0401, "500000FF03FF000018001004010001D*0001000001",
	 "D00000FF03FF000016C05C00FF03FF0004010001", .end_code = 0xc05c},
	{"V27 1E read bits", B1, 0x00, "00ff0a0064000000204d0800", "800010100110",
	 .memory = {"M100=1,0,1,0,0,1,1,0"}},
	{"V28 1E ASCII read bits", A1, 0x00, "00FF000A4D20000000640800", "800010100110",
	 .memory = {"M100=1,0,1,0,0,1,1,0"}},
	{"V29 1E ASCII read words", A1, 0x01, "01FF000A4420000000640200", "810012340005",
	 .memory = {"D100=0x1234,5"}},
	{"V30 1E write words", B1, 0x03, "03ff0a00a00f0000204405000b00f4ff0d000e000f00", "8300",
	 .after = {"D4000=11,-12,13,14,15"}},
	{"V31 1E model", B1, 0x15, "15ff0a00", "9500f300", .end_code = 0},
	{"V31 1E ASCII model", A1, 0x15, "15FF000A", "9500F300", .end_code = 0},
	{"V32 1E ASCII random write", A1, 0x05,
	 "05FF000A0300"
	 "592000000010"
	 "7B29"
	 "52200000001A"
	 "1234"
	 "434E00000012"
	 "0050",
	 "8500", .after = {"Y10=1,0,0,1,0,1,0,0,1,1,0,1,1,1,1,0", "R26=0x1234", "CN18=0x50"}},
	{"V33 1E abnormal code (request ours)", B1, 0x00, "00010a0064000000204d0800", "805b1000",
	 .end_code = 0x5b},
	{"V33 1E ASCII abnormal code (request ours)", A1, 0x00, "0001000A4D20000000640800",
	 "805B1000", .end_code = 0x5b},
	{"V33 1E complete code (request ours)", A1, 0x01, "01FF000A44200000FFFF0200", "8157",
	 .end_code = 0x57},
};

#undef B3
#undef B4
#undef A3
#undef A4
#undef B1
#undef A1

#define MC_VECTOR_COUNT (sizeof(MC_VECTORS) / sizeof(MC_VECTORS[0]))

/* The bytes of one frame of a vector; `out` holds MC_VECTOR_SIZE. Returns how many. */
static inline size_t mc_vector_bytes(enum mc_code code, const char *text, uint8_t *out)
{
	static const char DIGITS[] = "0123456789abcdef";
	size_t size = strlen(text);

	if (code == MC_CODE_ASCII) {
		memcpy(out, text, size);
		return size;
	}
	for (size_t i = 0; i + 1 < size; i += 2)
		out[i / 2] = (uint8_t)((strchr(DIGITS, text[i]) - DIGITS) << 4 |
				       (strchr(DIGITS, text[i + 1]) - DIGITS));
	return size / 2;
}

#endif
