#include "textflag.h"

// A signal handler gets signal, siginfo and context in R0, R1 and R2; R3 to R15 are its to use (AAPCS64). si_code is
// the third int of siginfo.
TEXT ·trampoline(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MOVW 8(R1), R3
	MOVWU R0, R4
	MOVD $·codes(SB), R5
	MOVW R3, (R5)(R4<<2)
	MOVD $·handlers(SB), R5
	MOVD (R5)(R4<<3), R6
	JMP  (R6)

TEXT ·trampolinePC(SB), NOSPLIT, $0-8
	MOVD $·trampoline(SB), R0
	MOVD R0, ret+0(FP)
	RET
