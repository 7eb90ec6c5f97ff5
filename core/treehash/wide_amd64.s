#include "textflag.h"

// Keccak-p[1600, 12 rounds] of eight states side by side: lane i of all eight is one register, Z0 to Z24. Z25 to Z31 are free.

// The constants of the last 12 of 24 rounds (FIPS 202 §3.2.5).
DATA rounds<>+0(SB)/8, $0x000000008000808b
DATA rounds<>+8(SB)/8, $0x800000000000008b
DATA rounds<>+16(SB)/8, $0x8000000000008089
DATA rounds<>+24(SB)/8, $0x8000000000008003
DATA rounds<>+32(SB)/8, $0x8000000000008002
DATA rounds<>+40(SB)/8, $0x8000000000000080
DATA rounds<>+48(SB)/8, $0x000000000000800a
DATA rounds<>+56(SB)/8, $0x800000008000000a
DATA rounds<>+64(SB)/8, $0x8000000080008081
DATA rounds<>+72(SB)/8, $0x8000000000008080
DATA rounds<>+80(SB)/8, $0x0000000080000001
DATA rounds<>+88(SB)/8, $0x8000000080008008
GLOBL rounds<>(SB), NOPTR|RODATA, $96

// COLUMN makes c the parity of a column.
#define COLUMN(a, b, d, e, f, c) \
	VMOVDQA64 a, c; \
	VPTERNLOGQ $0x96, b, d, c; \
	VPTERNLOGQ $0x96, e, f, c

// THETA adds the parity of the column before, p, and that of the one behind, n, rotated, to a column.
#define THETA(p, n, t, a, b, d, e, f) \
	VPROLQ $1, n, t; \
	VPTERNLOGQ $0x96, p, t, a; \
	VPTERNLOGQ $0x96, p, t, b; \
	VPTERNLOGQ $0x96, p, t, d; \
	VPTERNLOGQ $0x96, p, t, e; \
	VPTERNLOGQ $0x96, p, t, f

// CHI is a row of the only step that is not linear: 0xd2 is x ^ (^y & z).
#define CHI(a, b, c, d, e) \
	VMOVDQA64 a, Z25; \
	VMOVDQA64 b, Z26; \
	VPTERNLOGQ $0xd2, c, b, a; \
	VPTERNLOGQ $0xd2, d, c, b; \
	VPTERNLOGQ $0xd2, e, d, c; \
	VPTERNLOGQ $0xd2, Z25, e, d; \
	VPTERNLOGQ $0xd2, Z26, Z25, e

// ROUND is one round with the constant at CX. Rotation and permutation go along the one cycle of lanes, backwards, so that nothing is moved twice.
#define ROUND \
	COLUMN(Z0, Z5, Z10, Z15, Z20, Z25); \
	COLUMN(Z1, Z6, Z11, Z16, Z21, Z26); \
	COLUMN(Z2, Z7, Z12, Z17, Z22, Z27); \
	COLUMN(Z3, Z8, Z13, Z18, Z23, Z28); \
	COLUMN(Z4, Z9, Z14, Z19, Z24, Z29); \
	THETA(Z29, Z26, Z30, Z0, Z5, Z10, Z15, Z20); \
	THETA(Z25, Z27, Z31, Z1, Z6, Z11, Z16, Z21); \
	THETA(Z26, Z28, Z30, Z2, Z7, Z12, Z17, Z22); \
	THETA(Z27, Z29, Z31, Z3, Z8, Z13, Z18, Z23); \
	THETA(Z28, Z25, Z30, Z4, Z9, Z14, Z19, Z24); \
	VMOVDQA64 Z1, Z25; \
	VPROLQ $44, Z6, Z1; \
	VPROLQ $20, Z9, Z6; \
	VPROLQ $61, Z22, Z9; \
	VPROLQ $39, Z14, Z22; \
	VPROLQ $18, Z20, Z14; \
	VPROLQ $62, Z2, Z20; \
	VPROLQ $43, Z12, Z2; \
	VPROLQ $25, Z13, Z12; \
	VPROLQ $8, Z19, Z13; \
	VPROLQ $56, Z23, Z19; \
	VPROLQ $41, Z15, Z23; \
	VPROLQ $27, Z4, Z15; \
	VPROLQ $14, Z24, Z4; \
	VPROLQ $2, Z21, Z24; \
	VPROLQ $55, Z8, Z21; \
	VPROLQ $45, Z16, Z8; \
	VPROLQ $36, Z5, Z16; \
	VPROLQ $28, Z3, Z5; \
	VPROLQ $21, Z18, Z3; \
	VPROLQ $15, Z17, Z18; \
	VPROLQ $10, Z11, Z17; \
	VPROLQ $6, Z7, Z11; \
	VPROLQ $3, Z10, Z7; \
	VPROLQ $1, Z25, Z10; \
	CHI(Z0, Z1, Z2, Z3, Z4); \
	CHI(Z5, Z6, Z7, Z8, Z9); \
	CHI(Z10, Z11, Z12, Z13, Z14); \
	CHI(Z15, Z16, Z17, Z18, Z19); \
	CHI(Z20, Z21, Z22, Z23, Z24); \
	VPXORQ.BCST (CX), Z0, Z0

// LANES reads 64 bytes of each leaf at SI and makes Z8 to Z15 of them, a lane of all leaves in each.
#define LANES(off) \
	VMOVDQU64 off+0(SI), Z0; \
	VMOVDQU64 off+8192(SI), Z1; \
	VMOVDQU64 off+16384(SI), Z2; \
	VMOVDQU64 off+24576(SI), Z3; \
	VMOVDQU64 off+32768(SI), Z4; \
	VMOVDQU64 off+40960(SI), Z5; \
	VMOVDQU64 off+49152(SI), Z6; \
	VMOVDQU64 off+57344(SI), Z7; \
	VPUNPCKLQDQ Z1, Z0, Z8; \
	VPUNPCKHQDQ Z1, Z0, Z9; \
	VPUNPCKLQDQ Z3, Z2, Z10; \
	VPUNPCKHQDQ Z3, Z2, Z11; \
	VPUNPCKLQDQ Z5, Z4, Z12; \
	VPUNPCKHQDQ Z5, Z4, Z13; \
	VPUNPCKLQDQ Z7, Z6, Z14; \
	VPUNPCKHQDQ Z7, Z6, Z15; \
	VSHUFI64X2 $0x88, Z10, Z8, Z0; \
	VSHUFI64X2 $0xdd, Z10, Z8, Z1; \
	VSHUFI64X2 $0x88, Z14, Z12, Z2; \
	VSHUFI64X2 $0xdd, Z14, Z12, Z3; \
	VSHUFI64X2 $0x88, Z11, Z9, Z4; \
	VSHUFI64X2 $0xdd, Z11, Z9, Z5; \
	VSHUFI64X2 $0x88, Z15, Z13, Z6; \
	VSHUFI64X2 $0xdd, Z15, Z13, Z7; \
	VSHUFI64X2 $0x88, Z2, Z0, Z8; \
	VSHUFI64X2 $0xdd, Z2, Z0, Z12; \
	VSHUFI64X2 $0x88, Z3, Z1, Z10; \
	VSHUFI64X2 $0xdd, Z3, Z1, Z14; \
	VSHUFI64X2 $0x88, Z6, Z4, Z9; \
	VSHUFI64X2 $0xdd, Z6, Z4, Z13; \
	VSHUFI64X2 $0x88, Z7, Z5, Z11; \
	VSHUFI64X2 $0xdd, Z7, Z5, Z15

// ADD adds register r to lane i of the states at DI.
#define ADD(i, r) \
	VPXORQ (64*(i))(DI), r, r; \
	VMOVDQU64 r, (64*(i))(DI)

#define ADD8(i) \
	ADD(i+0, Z8); \
	ADD(i+1, Z9); \
	ADD(i+2, Z10); \
	ADD(i+3, Z11); \
	ADD(i+4, Z12); \
	ADD(i+5, Z13); \
	ADD(i+6, Z14); \
	ADD(i+7, Z15)

#define ADD5(i) \
	ADD(i+0, Z8); \
	ADD(i+1, Z9); \
	ADD(i+2, Z10); \
	ADD(i+3, Z11); \
	ADD(i+4, Z12)

// func absorb8(states *[25][8]uint64, leaves *byte, blocks int)
TEXT ·absorb8(SB), NOSPLIT, $0-24
	MOVQ states+0(FP), DI
	MOVQ leaves+8(FP), SI
	MOVQ blocks+16(FP), BX

block:
	LANES(0)
	ADD8(0)
	LANES(64)
	ADD8(8)
	LANES(128)
	ADD5(16)
	CALL permute<>(SB)
	ADDQ $168, SI
	DECQ BX
	JNZ  block
	LANES(0)
	ADD8(0)
	LANES(64)
	ADD8(8)
	VZEROUPPER
	RET

// func permute8(states *[25][8]uint64)
TEXT ·permute8(SB), NOSPLIT, $0-8
	MOVQ states+0(FP), DI
	CALL permute<>(SB)
	VZEROUPPER
	RET

// permute permutes the states at DI.
TEXT permute<>(SB), NOSPLIT|NOFRAME, $0-0
	VMOVDQU64 0(DI), Z0
	VMOVDQU64 64(DI), Z1
	VMOVDQU64 128(DI), Z2
	VMOVDQU64 192(DI), Z3
	VMOVDQU64 256(DI), Z4
	VMOVDQU64 320(DI), Z5
	VMOVDQU64 384(DI), Z6
	VMOVDQU64 448(DI), Z7
	VMOVDQU64 512(DI), Z8
	VMOVDQU64 576(DI), Z9
	VMOVDQU64 640(DI), Z10
	VMOVDQU64 704(DI), Z11
	VMOVDQU64 768(DI), Z12
	VMOVDQU64 832(DI), Z13
	VMOVDQU64 896(DI), Z14
	VMOVDQU64 960(DI), Z15
	VMOVDQU64 1024(DI), Z16
	VMOVDQU64 1088(DI), Z17
	VMOVDQU64 1152(DI), Z18
	VMOVDQU64 1216(DI), Z19
	VMOVDQU64 1280(DI), Z20
	VMOVDQU64 1344(DI), Z21
	VMOVDQU64 1408(DI), Z22
	VMOVDQU64 1472(DI), Z23
	VMOVDQU64 1536(DI), Z24
	LEAQ rounds<>(SB), CX
	MOVL $12, AX

round:
	ROUND
	ADDQ $8, CX
	DECL AX
	JNZ  round
	VMOVDQU64 Z0, 0(DI)
	VMOVDQU64 Z1, 64(DI)
	VMOVDQU64 Z2, 128(DI)
	VMOVDQU64 Z3, 192(DI)
	VMOVDQU64 Z4, 256(DI)
	VMOVDQU64 Z5, 320(DI)
	VMOVDQU64 Z6, 384(DI)
	VMOVDQU64 Z7, 448(DI)
	VMOVDQU64 Z8, 512(DI)
	VMOVDQU64 Z9, 576(DI)
	VMOVDQU64 Z10, 640(DI)
	VMOVDQU64 Z11, 704(DI)
	VMOVDQU64 Z12, 768(DI)
	VMOVDQU64 Z13, 832(DI)
	VMOVDQU64 Z14, 896(DI)
	VMOVDQU64 Z15, 960(DI)
	VMOVDQU64 Z16, 1024(DI)
	VMOVDQU64 Z17, 1088(DI)
	VMOVDQU64 Z18, 1152(DI)
	VMOVDQU64 Z19, 1216(DI)
	VMOVDQU64 Z20, 1280(DI)
	VMOVDQU64 Z21, 1344(DI)
	VMOVDQU64 Z22, 1408(DI)
	VMOVDQU64 Z23, 1472(DI)
	VMOVDQU64 Z24, 1536(DI)
	RET
