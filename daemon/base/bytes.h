/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Big- and little-endian numbers in unaligned memory. The caller has checked the bounds.
 * MC binary frames are little-endian but for the subheader; PROXY v2 is big-endian.
 */
#ifndef MCSEAL_BASE_BYTES_H
#define MCSEAL_BASE_BYTES_H

#include <stdint.h>

static inline uint16_t get_le16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] | bytes[1] << 8);
}

static inline uint32_t get_le24(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16;
}

static inline uint32_t get_le32(const uint8_t *bytes)
{
	return get_le24(bytes) | (uint32_t)bytes[3] << 24;
}

static inline uint16_t get_be16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static inline uint32_t get_be32(const uint8_t *bytes)
{
	return (uint32_t)get_be16(bytes) << 16 | get_be16(bytes + 2);
}

static inline void put_le16(uint8_t *bytes, uint16_t value)
{
	bytes[0] = (uint8_t)value;
	bytes[1] = (uint8_t)(value >> 8);
}

static inline void put_le24(uint8_t *bytes, uint32_t value)
{
	put_le16(bytes, (uint16_t)value);
	bytes[2] = (uint8_t)(value >> 16);
}

static inline void put_le32(uint8_t *bytes, uint32_t value)
{
	put_le16(bytes, (uint16_t)value);
	put_le16(bytes + 2, (uint16_t)(value >> 16));
}

static inline void put_be16(uint8_t *bytes, uint16_t value)
{
	bytes[0] = (uint8_t)(value >> 8);
	bytes[1] = (uint8_t)value;
}

static inline void put_be64(uint8_t *bytes, uint64_t value)
{
	for (int i = 0; i < 4; i++)
		put_be16(bytes + 2 * i, (uint16_t)(value >> (48 - 16 * i)));
}

#endif
